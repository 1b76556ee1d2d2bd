"""A run: every setting resolved, the objects built from them, and the folder that keeps it all."""
