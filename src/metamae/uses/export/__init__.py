"""An encoder as a program that other software runs."""
