"""The samples nearest to others."""
