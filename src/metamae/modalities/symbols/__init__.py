"""Sequences of symbols: what one symbol of a text is, and the way from texts to numbers and back.

A unit says how a text falls into symbols, an alphabet which of them are known and what number
each has.
"""

from metamae.modalities.symbols.symbols import Symbols as Symbols
