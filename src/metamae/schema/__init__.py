"""Which fields are input, and as what: guessed, stated by the user, written down and read again."""
