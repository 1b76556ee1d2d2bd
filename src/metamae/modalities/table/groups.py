"""Which columns of a table share a token.

A few tokens of hundreds of columns are learnt from faster than many of one (docs/defaults.md), and
attention over thousands is too dear, so that numeric columns of a wide table share tokens. They
are dealt out like cards: with G tokens, columns 0, G, 2G, ... go to the first. Neighbours are
often alike (probes of one gene, readings of one instrument), and what is alike has to stand in
different tokens to be predicted from each other. Finding out which columns are alike would cost a
matrix of all pairs, for no more than that.
"""

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index

WIDE = 256  # columns above which several numeric ones share a token
TOKENS = 64  # of them, then


def group_size(num_numeric: int, asked: int | str) -> int:
    """Return the numeric columns of one token, all tokens as equally full as may be.

    Args:
        num_numeric: Numeric columns.
        asked: At most so many, or "auto": 1 for up to 256 columns, and else so many that there
            are about 64 tokens.
    """
    if asked == "auto":
        most = 1 if num_numeric <= WIDE else -(-num_numeric // TOKENS)
    else:
        most = int(asked)
    tokens = -(-num_numeric // max(1, most))
    return -(-num_numeric // max(1, tokens)) or 1


def deal(numeric: NDArray[np.bool_], group: int) -> Index:
    """Give every column a token and a place in it.

    Args:
        numeric: Whether each column is numeric, (C,); only those share tokens.
        group: What `group_size` gave. With 1 the tokens stand in the order of the columns, else
            those of numeric columns come first.

    Returns:
        Token and place of each column, (C, 2).
    """
    if group == 1:
        return np.stack([np.arange(len(numeric)), np.zeros(len(numeric), dtype=int)], axis=1)
    tokens = -(-int(numeric.sum()) // group)
    among = numeric.cumsum() - 1  # position among the numeric columns
    others = tokens + (~numeric).cumsum() - 1
    token = np.where(numeric, among % tokens, others)
    return np.stack([token, np.where(numeric, among // tokens, 0)], axis=1)
