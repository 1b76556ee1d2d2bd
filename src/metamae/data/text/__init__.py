"""Text files: encodings, lines, where samples begin and end, and how missing is spelt."""
