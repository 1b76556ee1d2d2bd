"""Methods against each other and against what needs no pretraining, on many data sets."""
