"""A trained encoder: samples in, vectors or predictions out, and the folders it is handed on in."""
