"""Whole fields are hidden, one after the other, in the share of samples asked for."""

import pytest
import torch

from cases import rng
from metamae.errors import ConfigError
from metamae.masking.field import FieldMasking
from metamae.model.tokens import Tokens

SIZES = (12, 5, 3)
FIELDS = torch.cat([torch.full((n,), number) for number, n in enumerate(SIZES)])


def tokens_of(num=200, padding=None, fields=FIELDS):
    return Tokens(torch.zeros(num, sum(SIZES), 4), None, padding, fields)


def states(hidden, padding=None):
    """For each field "none", "all" or "some" of its tokens hidden; "gone" if it has none."""
    words = []
    for number in range(len(SIZES)):
        there = FIELDS == number
        if padding is not None:
            there = there & ~padding
        count = int(hidden[there].sum())
        size = int(there.sum())
        words.append("gone" if size == 0 else {0: "none", size: "all"}.get(count, "some"))
    return words


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.75, 0.9])
def test_at_most_one_field_is_hidden_in_part(ratio):
    mask = FieldMasking(ratio=ratio, whole=1.0)(tokens_of(), rng())
    assert all(states(hidden).count("some") <= 1 for hidden in mask.hidden)
    assert (~mask.hidden).any(dim=1).all()


def test_every_order_of_the_fields_occurs():
    # 5 of 20 tokens are hidden: the middle field as a whole, a part of the first, or the last
    # as a whole and a part of another.
    mask = FieldMasking(ratio=0.25, whole=1.0)(tokens_of(), rng())
    found = {tuple(states(hidden)) for hidden in mask.hidden}
    expected = {("some", "none", "none"), ("none", "all", "none")}
    assert found == expected | {("some", "none", "all"), ("none", "some", "all")}


def test_each_field_is_as_likely_to_be_hidden_first():
    mask = FieldMasking(ratio=0.15, whole=1.0)(tokens_of(3000), rng())  # 3 of 20
    first = torch.stack([FIELDS[hidden][0] for hidden in mask.hidden])
    assert torch.allclose(first.bincount() / 3000, torch.tensor(1 / 3), atol=0.04)


def test_inside_a_field_that_is_hidden_in_part_all_tokens_are_as_likely():
    mask = FieldMasking(ratio=0.2, whole=1.0)(tokens_of(3000), rng())  # 4 of 20
    some = mask.hidden[[states(hidden) == ["some", "none", "none"] for hidden in mask.hidden]]
    assert len(some) > 500
    assert torch.allclose(some[:, :12].double().mean(dim=0), torch.tensor(1 / 3).double(), atol=0.1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_samples_is_the_one_asked_for(share):
    mask = FieldMasking(ratio=0.5, whole=share)(tokens_of(2000), rng())
    whole = sum(states(hidden).count("some") <= 1 for hidden in mask.hidden) / 2000
    # At random a field is hidden or shown as a whole now and then.
    by_chance = FieldMasking(ratio=0.5, whole=0.0)(tokens_of(2000), rng(1)).hidden
    chance = sum(states(hidden).count("some") <= 1 for hidden in by_chance) / 2000
    assert chance < 0.2
    assert whole == pytest.approx(share + (1 - share) * chance, abs=0.04)


def test_fields_that_a_sample_lacks_do_not_count():
    padding = torch.zeros(200, 20, dtype=torch.bool)
    padding[:100, :12] = True  # 8 tokens in two fields
    padding[100:, 12:] = True  # 12 tokens in one
    mask = FieldMasking(ratio=0.5, whole=1.0)(tokens_of(200, padding), rng())
    assert not (mask.hidden & padding).any()
    assert (mask.hidden[:100].sum(dim=1) == 4).all()
    assert (mask.hidden[100:].sum(dim=1) == 6).all()
    for hidden, gone in zip(mask.hidden, padding, strict=True):
        assert states(hidden, gone).count("some") <= 1


def test_numbers_of_fields_may_have_gaps():
    moved = tokens_of(fields=torch.tensor([0, 4, 9])[FIELDS])
    masking = FieldMasking(ratio=0.4)
    assert torch.equal(masking(moved, rng()).hidden, masking(tokens_of(), rng()).hidden)


def test_without_fields_it_is_random_masking():
    mask = FieldMasking(ratio=0.5, whole=1.0)(tokens_of(2000, fields=None), rng())
    assert torch.allclose(mask.hidden.double().mean(dim=0), torch.tensor(0.5).double(), atol=0.05)


@pytest.mark.parametrize("whole", [-0.1, 1.1, "half", None, True])
def test_the_share_must_lie_between_0_and_1(whole):
    with pytest.raises(ConfigError, match=r"FieldMasking\.whole must be a number between 0 and 1"):
        FieldMasking(whole=whole)
