"""Columns of samples: read on demand, cut, joined and decoded without being held."""
