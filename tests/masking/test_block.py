"""Blocks are connected, wherever they start and whatever is missing."""

import pytest
import torch

from cases import rng
from metamae.masking.block import BlockMasking
from metamae.modalities.grid.geometry import neighbours
from metamae.model.tokens import Tokens


def num_regions(cells, near):
    """Connected parts of a set of cells, counted by a slow search."""
    left, regions = set(cells), 0
    while left:
        regions, front = regions + 1, [left.pop()]
        while front:
            for cell in near[front.pop()].tolist():
                if cell in left:
                    left.remove(cell)
                    front.append(cell)
    return regions


def hidden_cells(mask):
    return [row.nonzero().flatten().tolist() for row in mask.hidden]


@pytest.mark.parametrize("counts", [(24,), (6, 7), (3, 4, 3)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
def test_one_block_is_connected(counts, ratio):
    near = neighbours(counts)
    mask = BlockMasking(ratio=ratio)(Tokens(torch.zeros(60, len(near), 1), near), rng())
    for cells in hidden_cells(mask):
        assert num_regions(cells, near) == 1


def test_a_block_on_a_line_is_an_interval():
    near = neighbours((30,))
    mask = BlockMasking(ratio=0.4)(Tokens(torch.zeros(50, 30, 1), near), rng())
    for cells in hidden_cells(mask):
        assert cells == list(range(cells[0], cells[0] + 12))


@pytest.mark.parametrize("blocks", [2, 3])
def test_several_blocks(blocks):
    near = neighbours((10, 10))
    mask = BlockMasking(ratio=0.2, blocks=blocks)(Tokens(torch.zeros(60, 100, 1), near), rng())
    regions = [num_regions(cells, near) for cells in hidden_cells(mask)]
    assert max(regions) == blocks
    assert min(regions) >= 1


def test_blocks_start_everywhere():
    near = neighbours((5, 5))
    mask = BlockMasking(ratio=0.05)(Tokens(torch.zeros(2000, 25, 1), near), rng())
    times = mask.hidden.sum(dim=0)  # one cell of each sample: its centre
    assert (times - 80).abs().max() < 4 * 80**0.5


def test_each_row_may_have_neighbours_of_its_own():
    near = neighbours((12,))
    other = torch.randperm(12, generator=rng())
    moved = torch.full_like(near, -1)
    for at, row in enumerate(near.tolist()):
        moved[other[at]] = torch.tensor([-1 if n < 0 else int(other[n]) for n in row])
    both = torch.stack([near, moved])
    mask = BlockMasking(ratio=0.5)(Tokens(torch.zeros(2, 12, 1), both), rng())
    for cells, table in zip(hidden_cells(mask), both, strict=True):
        assert num_regions(cells, table) == 1


def test_a_block_grows_across_what_is_missing():
    """Two islands of 5 tokens, 30 missing ones between them: the nearest are hidden."""
    near, padding = neighbours((40,)), torch.ones(200, 40, dtype=torch.bool)
    islands = [*range(5), *range(35, 40)]
    padding[:, islands] = False
    tokens = Tokens(torch.zeros(200, 40, 1), near, padding)
    for cells in hidden_cells(BlockMasking(ratio=0.7)(tokens, rng())):
        assert len(cells) == 7
        # Holding the missing ones to be hidden too makes it one piece.
        assert num_regions([*cells, *range(5, 35)], near) == 1


def test_missing_tokens_do_not_count():
    """A row of 10 tokens in 40: its block reaches its full length within the 10."""
    near, padding = neighbours((40,)), torch.zeros(200, 40, dtype=torch.bool)
    padding[:, 10:] = True
    tokens = Tokens(torch.zeros(200, 40, 1), near, padding)
    for cells in hidden_cells(BlockMasking(ratio=0.6)(tokens, rng())):
        assert cells == list(range(cells[0], cells[0] + 6))


def test_more_blocks_than_tokens():
    padding = torch.zeros(20, 12, dtype=torch.bool)
    padding[:, 3:] = True
    tokens = Tokens(torch.zeros(20, 12, 1), neighbours((12,)), padding)
    mask = BlockMasking(ratio=0.5, blocks=8)(tokens, rng())
    assert not (mask.hidden & padding).any()
    # All three are centres, so each is hidden about as often.
    assert (mask.hidden[:, :3].sum(dim=0) > 0).all()
