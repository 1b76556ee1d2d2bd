"""Vectors of samples in files, written so that a stop loses little."""
