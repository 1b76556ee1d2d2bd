"""The columns of a table: measured once on the training data, scaled by that ever after."""
