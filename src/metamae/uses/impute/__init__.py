"""Missing values filled in, and how well."""
