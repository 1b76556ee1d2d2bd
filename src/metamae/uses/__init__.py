"""What a trained encoder is good for: one folder, or one file, for each use."""
