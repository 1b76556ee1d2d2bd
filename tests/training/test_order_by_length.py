"""Batches of samples of like length: each sample once a pass, little padding, new companions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import objects
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Chain, OneByOne, Subset, known_sizes
from metamae.data.columns.blocks import Blocked, Recent
from metamae.data.records import Records
from metamae.errors import ConfigError
from metamae.modalities.mixture.mixture import Mixture
from metamae.modalities.symbols.symbols import Symbols
from metamae.schema.schema import parts_of
from metamae.training.batches import Batches
from metamae.training.order import POOL, Grouped, Order
from metamae.training.settings import TrainSettings

from .runs import series


def lengths_of(num, seed=0):
    return np.random.default_rng(seed).geometric(0.05, num)


def grouped(num, batch_size, seed=0, lengths=None):
    lengths = lengths_of(num) if lengths is None else lengths
    return Grouped(Order(num, seed=seed), batch_size, lengths.__getitem__)


def batches_of(order, num, batch_size, turn=0):
    starts = range(0, max(1, num // batch_size) * batch_size, batch_size)
    return [order.positions(turn, start, min(start + batch_size, num)) for start in starts]


def padded(lengths, batches):
    """How many times as many places as there are tokens."""
    places = sum(len(batch) * lengths[batch].max() for batch in batches)
    return places / sum(lengths[batch].sum() for batch in batches)


@given(
    num=st.integers(1, 400),
    batch_size=st.integers(1, 9),
    turn=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_a_pass_holds_no_sample_twice_and_all_but_those_that_fill_no_batch(
    num, batch_size, turn, seed
):
    found = np.concatenate(batches_of(grouped(num, batch_size, seed), num, batch_size, turn))
    assert len(found) == (num // batch_size * batch_size or num)
    assert len(np.unique(found)) == len(found)


def test_little_is_padding():
    num, lengths = 3000, lengths_of(3000)
    mixed = padded(lengths, batches_of(Order(num, seed=0), num, 32))
    alike = padded(lengths, batches_of(grouped(num, 32), num, 32))
    assert mixed > 2.5
    assert alike < 1.3


def test_companions_change_from_pass_to_pass():
    # Even where one pool has all samples.
    num, batch_size = 320, 10
    order = grouped(num, batch_size)
    together = [
        {(a, b) for batch in batches_of(order, num, batch_size, turn) for a in batch for b in batch}
        for turn in (0, 1)
    ]
    assert len(together[0] & together[1]) < 0.6 * len(together[0])


def test_the_longest_batch_of_a_pool_is_first_and_the_others_in_no_order():
    num, batch_size, lengths = 2000, 10, lengths_of(2000)
    means = [
        lengths[batch].mean() for batch in batches_of(grouped(num, batch_size), num, batch_size)
    ]
    for start in range(0, len(means), POOL):
        pool = means[start : start + POOL]
        assert max(pool) == pool[0]
        if len(pool) == POOL:
            assert abs(np.corrcoef(np.arange(POOL - 1), pool[1:])[0, 1]) < 0.6


def test_a_batch_depends_on_its_place_alone():
    num, batch_size = 700, 10
    wandering = grouped(num, batch_size)
    for place in np.random.default_rng(0).permutation(140):
        turn, start = divmod(int(place), 70)
        fresh = grouped(num, batch_size).positions(turn, start * 10, start * 10 + 10)
        assert np.array_equal(wandering.positions(turn, start * 10, start * 10 + 10), fresh)


def strings(*, bad=()):
    rng = np.random.default_rng(0)
    values = ["".join(rng.choice(list("ACGT"), n)) for n in rng.integers(2, 60, 200)]
    spec, _ = Symbols.infer(Records({"X": objects(values)}, "strings"), rng)
    for number in bad:
        values[number] = "A" * 7000
    return spec, Records({"X": objects(values)}, "strings")


def test_batches_of_strings_are_of_like_length():
    spec, records = strings()
    for grouping in (False, True):
        batches = Batches(spec, records, batch_size=10, seed=0, group_by_length=grouping)
        shares = [1 - batches.read(n)["valid"].float().mean() for n in range(batches.per_pass)]
        assert bool(np.mean(shares) < 0.15) is grouping


@pytest.mark.parametrize(("num", "batch_size"), [(2100, 10), (2100, 64), (700, 300)])
def test_only_samples_that_are_mixed_anyway_are_sorted_together(num, batch_size):
    # So that a block is read once: those of eight blocks, behind which a batch may lie across.
    blocks = np.arange(0, num + 1, 30)
    order = Order(num, seed=0, blocks=blocks)
    lengths = lengths_of(num)
    found = batches_of(Grouped(order, batch_size, lengths.__getitem__), num, batch_size)
    assert len(np.unique(np.concatenate(found))) == num // batch_size * batch_size
    ends, across = order.ends(0), 0
    for number, batch in enumerate(found):
        first, last = ends.searchsorted(
            [number * batch_size, (number + 1) * batch_size - 1], "right"
        )
        if first == last:
            group = order.positions(0, ends[first - 1] if first else 0, ends[first])
            assert np.isin(batch, group).all()
        else:
            across += 1
            start = number * batch_size
            assert np.array_equal(batch, order.positions(0, start, start + batch_size))
    assert across <= len(ends) - 1 if batch_size < 240 else across == len(found)


def test_the_longest_near_a_batch_is_told():
    num, batch_size, lengths = 2000, 10, lengths_of(2000)
    order = grouped(num, batch_size)
    means = [lengths[batch].mean() for batch in batches_of(order, num, batch_size)]
    for number in range(200):
        longest = order.longest(0, number * batch_size) // batch_size
        assert means[longest] == max(means[number // POOL * POOL :][:POOL])


def test_sizes_are_the_numbers_of_tokens():
    spec, records = strings()
    batch = spec.batch(records, np.arange(len(records)))
    assert np.array_equal(spec.rough_sizes(records), batch["valid"].sum(dim=1).numpy())


def test_texts_are_not_encoded_to_be_sorted():
    texts = [" ".join(["one", "two", "three"] * n) for n in range(1, 40)]
    records = Records({"X": objects(texts)}, "texts")
    spec, _ = Symbols.infer(records, np.random.default_rng(0), unit="bpe")
    assert spec.rough_sizes(records).tolist() == [len(text) for text in texts]
    assert not np.array_equal(spec.rough_sizes(records), spec.lengths(records))


def test_strings_of_one_length_come_as_they_did():
    values = ["".join(row) for row in np.random.default_rng(0).choice(list("ACGT"), (60, 12))]
    records = Records({"X": objects(values)}, "strings")
    spec, _ = Symbols.infer(records, np.random.default_rng(0))
    plain, asked = (
        Batches(spec, records, batch_size=8, seed=0, group_by_length=flag) for flag in (False, True)
    )
    assert spec.varies
    assert all(np.array_equal(plain.index(n), asked.index(n)) for n in range(20))


def test_a_bad_sample_is_set_aside_and_all_others_are_read():
    spec, records = strings(bad=(17, 90))
    aside = Aside(2)
    batches = Batches(spec, records, batch_size=10, seed=0, group_by_length=True, aside=aside)
    read = sum(len(batches.read(number)["codes"]) for number in range(batches.per_pass))
    assert read == len(records) - 2
    assert sorted(bad.sample for bad in aside.found) == [17, 90]


class Slow(OneByOne):
    """Strings that are decoded, whose lengths are known before or not."""

    decodes = True

    def __init__(self, values, sizes):
        self.values, self.sizes = values, sizes
        self.read = 0

    def __len__(self):
        return len(self.values)

    def value(self, position):
        self.read += 1
        return self.values[position]


@pytest.mark.parametrize("known", [True, False])
def test_no_sample_is_decoded_for_its_length(known):
    spec, records = strings()
    values = records["X"]
    sizes = np.array([[len(value)] for value in values])
    column = Slow(values, sizes if known else None)
    slow = Records({"X": column}, "strings")
    batches = Batches(spec, slow, batch_size=10, seed=0, group_by_length=True)
    spread = [np.ptp(sizes[batches.index(number)]) for number in range(batches.per_pass)]
    assert column.read <= 1  # one tells what kind all are
    assert bool(np.mean(spread) < 12) is known


def test_no_window_is_read_for_its_length():
    spec, records = strings()
    values = objects([value * 200 for value in records["X"]])
    column = Slow(values, None)
    pieces, owner = spec.unfold(Records({"X": column}, "strings"))
    assert owner is not None
    column.read = 0
    assert spec.rough_sizes(pieces).max() == spec.max_length
    assert column.read <= 1


def test_mixtures_of_files_are_not_sorted():
    # Which fields a sample has is found by reading it.
    records = Mixture.example(40, np.random.default_rng(0))
    spec, _ = Mixture.infer(records, np.random.default_rng(0), parts=parts_of(records))
    assert np.ptp(spec.rough_sizes(records)) > 0
    text = Slow(records["text"], np.array([[len(v or "")] for v in records["text"]]))
    columns = {**records.columns, "text": text}
    assert spec.rough_sizes(Records(columns, "files")) is None
    assert text.read == 0


def test_a_block_is_read_as_often_as_without_sorting():
    spec, records = strings()
    values = np.concatenate([records["X"]] * 8)
    starts = np.arange(0, 1601, 50)
    reads = {}
    for grouping in (False, True):
        seen = []

        def read(number, seen=seen):
            seen.append(number)
            return values[starts[number] : starts[number + 1]]

        column = Blocked(starts, read, np.dtype(object), None, Recent())
        stored = Records({"X": column}, "strings")
        batches = Batches(spec, stored, batch_size=32, seed=0, group_by_length=grouping)
        assert isinstance(batches.order, Grouped) is grouping
        for number in range(batches.per_pass):
            batches.read(number)
        reads[grouping] = len(seen)
    assert reads == {False: 32, True: 32}


def test_lengths_of_shards_are_those_of_their_samples():
    spec, records = strings()
    values = records["X"]
    shards = [Slow(part, np.array([[len(v)] for v in part])) for part in np.split(values, [60, 61])]
    chain = Chain(shards, "X")
    index = np.random.default_rng(0).permutation(200)[:50]
    found = spec.rough_sizes(Records({"X": chain}, "strings").subset(index))
    assert found.tolist() == [len(values[n]) for n in index]
    assert sum(shard.read for shard in shards) <= 1
    unknown = Chain([*shards[:2], Slow(shards[2].values, None)], "X")
    assert known_sizes(Subset(unknown, index)) is None
    assert known_sizes(Subset(unknown, np.arange(60))) is not None


def test_samples_of_one_length_come_as_they_did():
    spec, records = series(40)
    plain, asked = (
        Batches(spec, records, batch_size=8, seed=0, group_by_length=flag) for flag in (False, True)
    )
    assert all(np.array_equal(plain.index(n), asked.index(n)) for n in range(10))


def test_the_setting_is_yes_or_no():
    with pytest.raises(ConfigError, match=r"Train\.group_by_length"):
        TrainSettings(group_by_length="often")
