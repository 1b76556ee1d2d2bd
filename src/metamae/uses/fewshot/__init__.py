"""Classes told apart by a few labelled samples."""
