"""Samples as they come: readers of files and objects, and the columns that samples become."""
