"""From data to an encoder: what the data are, what is wrong with them, settings, and training."""
