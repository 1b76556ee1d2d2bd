"""What one symbol of a text is, and the way from texts to numbers and back; free of torch.

A unit says how a text falls into symbols, an alphabet which of them are known and what number
each has.
"""
