"""Runs are hidden whole, but for one."""

import pytest
import torch

from cases import rng
from metamae.masking.span import SpanMasking
from metamae.model.tokens import Tokens


def runs_of(row):
    """Lengths of the hidden runs of a row, and whether each touches an end."""
    cells, runs = row.tolist(), []
    start = None
    for at, hidden in enumerate([*cells, False]):
        if hidden and start is None:
            start = at
        elif not hidden and start is not None:
            runs.append((at - start, start == 0 or at == len(cells)))
            start = None
    return runs


@pytest.mark.parametrize("length", [1, 3, 4, 7])
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
def test_hidden_tokens_form_runs(length, ratio):
    mask = SpanMasking(ratio=ratio, length=length)(Tokens(torch.zeros(100, 36, 1)), rng())
    for row in mask.hidden:
        # A run at an end is cut by it, and one more is hidden only in part.
        odd = [n for n, at_end in runs_of(row) if n % length and not at_end]
        assert len(odd) <= 1


def test_a_partly_hidden_run_is_hidden_in_one_piece():
    mask = SpanMasking(ratio=0.3, length=50)(Tokens(torch.zeros(100, 20, 1)), rng())
    for row in mask.hidden:
        assert len(runs_of(row)) <= 2
        assert row.sum() == 6


def test_cuts_lie_everywhere():
    mask = SpanMasking(ratio=0.5, length=4)(Tokens(torch.zeros(2000, 24, 1)), rng())
    begins = (mask.hidden[:, 1:] & ~mask.hidden[:, :-1]).sum(dim=0)
    assert begins.min() > 0.5 * begins.float().mean()
    times = mask.hidden.float().mean(dim=0)
    assert (times[4:-4] - 0.5).abs().max() < 0.08
