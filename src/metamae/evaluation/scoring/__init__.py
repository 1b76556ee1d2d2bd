"""Labels, splits, metrics and intervals: what there is to know of predictions, not of models."""
