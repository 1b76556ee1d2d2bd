"""What holds for every masking, and `keep_best` against a slow reference."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cases import rng
from metamae.errors import ConfigError
from metamae.masking import MASKINGS
from metamae.masking.base import keep_best, num_visible
from metamae.modalities.grid.geometry import neighbours
from metamae.model.tokens import Tokens

every_masking = pytest.mark.parametrize("name", MASKINGS.entries)
GEOMETRIES = {"none": None, "line": (20,), "lattice": (4, 5), "cube": (2, 5, 2)}
everywhere = pytest.mark.parametrize("geometry", GEOMETRIES)
RATIOS = [0.01, 0.1, 0.3, 0.5, 0.55, 0.7, 0.75, 0.85, 0.9, 0.99]


def tokens_of(geometry="line", padding=None, num=6):
    counts = GEOMETRIES[geometry]
    near = None if counts is None else neighbours(counts)
    return Tokens(torch.zeros(num, 20, 4), near, padding)


def some_padding(num=6):
    """Rows of 20, 17, 11, 2, 1 and 0 tokens, the missing ones at the end or anywhere."""
    padding = torch.zeros(num, 20, dtype=torch.bool)
    for row, there in enumerate([20, 17, 11, 2, 1, 0]):
        padding[row, there:] = True
    padding[1] = padding[1][torch.randperm(20, generator=rng())]
    return padding


def positions(row):
    return set(row.nonzero().flatten().tolist())


def slow_keep_best(scores, padding, ratio):
    """Rows of positions: those of highest score among the tokens that are there, ascending."""
    kept = []
    for row, missing in zip(scores, padding, strict=True):
        there = [n for n, gone in enumerate(missing) if not gone]
        most = min(max(1, round(len(there) * (1 - ratio))), max(1, len(there) - 1), len(there))
        best = sorted(there, key=lambda n: -row[n])[:most]
        kept.append(sorted(best))
    return kept


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    ratio=st.floats(0.001, 0.999) | st.sampled_from(RATIOS),
    seed=st.integers(0, 99),
)
def test_keep_best_against_a_slow_reference(lengths, ratio, seed):
    N = max([1, *lengths])
    generator = rng(seed)
    scores = torch.rand(len(lengths), N, generator=generator)
    order = torch.rand(len(lengths), N, generator=generator).argsort(dim=1)
    padding = order >= torch.tensor(lengths)[:, None]  # scattered, not only at the end
    mask = keep_best(scores, padding, ratio)
    expected = slow_keep_best(scores.tolist(), padding.tolist(), ratio)
    most = mask.kept.shape[1]
    assert mask.kept.tolist() == [row + [-1] * (most - len(row)) for row in expected]
    assert mask.short
    for row, kept in enumerate(expected):
        hidden = [n for n in range(N) if not padding[row, n] and n not in kept]
        assert mask.hidden[row].nonzero().flatten().tolist() == hidden


@pytest.mark.parametrize("ratio", RATIOS)
def test_padding_that_is_not_there_changes_nothing(ratio):
    for N in range(1, 65):
        scores = torch.rand(3, N, generator=rng())
        plain = keep_best(scores, None, ratio)
        padded = keep_best(scores, torch.zeros(3, N, dtype=torch.bool), ratio)
        assert torch.equal(plain.hidden, padded.hidden)
        assert torch.equal(plain.kept, padded.kept)
        assert not plain.short
        assert plain.padding is None
        assert not padded.padding.any()


@pytest.mark.parametrize(
    ("N", "ratio", "visible"),
    [
        (20, 0.9, 2),  # 20 * (1 - 0.9) lies just below 2
        (64, 0.75, 16),
        (10, 0.75, 2),  # half to even
        (14, 0.75, 4),
        (15, 0.7, 5),  # 15 * (1 - 0.7) lies just above 4.5
        (4, 0.99, 1),  # one stays visible
        (4, 0.01, 3),  # one is hidden
        (2, 0.01, 1),
        (1, 0.99, 1),
    ],
)
def test_number_of_visible_tokens(N, ratio, visible):
    assert num_visible(N, ratio) == visible


@every_masking
@everywhere
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("padded", [False, True])
def test_hidden_and_kept_make_up_all_tokens(name, geometry, ratio, padded):
    padding = some_padding() if padded else None
    mask = MASKINGS.build(name, ratio=ratio)(tokens_of(geometry, padding), rng())
    visible = mask.visible(padding)
    for row in range(6):
        there = set(range(20)) if padding is None else positions(~padding[row])
        kept = [n for n in mask.kept[row].tolist() if n >= 0]
        hidden = positions(mask.hidden[row])
        assert set(kept) | hidden == there
        assert not set(kept) & hidden
        assert kept == sorted(set(kept))
        assert mask.kept[row].tolist() == kept + [-1] * (mask.kept.shape[1] - len(kept))
        assert len(kept) == (num_visible(len(there), ratio) if there else 0)
        assert hidden or len(there) < 2
        assert positions(visible[row]) == set(kept)


@every_masking
@everywhere
@pytest.mark.parametrize("padded", [False, True])
def test_a_seed_decides_the_mask(name, geometry, padded):
    tokens = tokens_of(geometry, some_padding() if padded else None)
    masking = MASKINGS.build(name)
    mask = masking(tokens, rng(3))
    assert torch.equal(mask.hidden, masking(tokens, rng(3)).hidden)
    assert torch.equal(mask.kept, masking(tokens, rng(3)).kept)
    assert not torch.equal(mask.hidden, masking(tokens, rng(4)).hidden)


@every_masking
@everywhere
def test_samples_are_masked_independently(name, geometry):
    mask = MASKINGS.build(name, ratio=0.5)(tokens_of(geometry, num=64), rng())
    assert len(mask.hidden.unique(dim=0)) > 8


@every_masking
@everywhere
def test_values_do_not_matter(name, geometry):
    tokens = tokens_of(geometry)
    other = Tokens(tokens.values + 5, tokens.neighbours)
    masking = MASKINGS.build(name)
    assert torch.equal(masking(tokens, rng()).hidden, masking(other, rng()).hidden)


@every_masking
@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5, float("nan"), True, "half", None])
def test_ratio_must_lie_between_0_and_1(name, ratio):
    owner = MASKINGS.entries[name]
    rule = rf"{owner}\.ratio must be a number strictly between 0 and 1; got .*\. 0\.5 would do\."
    with pytest.raises(ConfigError, match=rule):
        MASKINGS.build(name, ratio=ratio)


@pytest.mark.parametrize(("name", "setting"), [("block", "blocks"), ("span", "length")])
@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True])
def test_counts_must_be_whole_numbers(name, setting, value):
    rule = rf"{setting} must be a whole number of at least 1; got {value!r}\. 1 would do\."
    with pytest.raises(ConfigError, match=rule):
        MASKINGS.build(name, **{setting: value})
