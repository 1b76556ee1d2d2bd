"""Everything that turns a method and samples into trained weights."""
