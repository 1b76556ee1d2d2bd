"""A sample's vector is its own: the same bits whatever samples stand beside it."""

import numpy as np
import pytest
import torch

from command import TINY
from metamae import load, pretrain
from metamae.data.readers import read
from metamae.data.records import Records
from metamae.encoder.embedding import MULTIPLE, at_once, by_length, embed_samples
from metamae.errors import DataError


def gappy_series(num=60):
    x = np.random.default_rng(0).normal(size=(num, 2, 40)).astype(np.float32)
    x[3, 0, :30] = np.nan
    x[7, :, 1:] = np.nan
    return x


def texts(num=60):
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), rng.integers(1, 50))) for _ in range(num)]
    # One much longer than the rest, one of symbols that the training does not know.
    return [*rows[:-2], "ACGT" * 60, "A" + "#" * 30 + "C"]


def gappy_table(num=60):
    x = np.random.default_rng(0).normal(size=(num, 5))
    x[::7, 1] = np.nan
    x[3, :4] = np.nan
    return x


def whole_series(num=60):
    """N is a multiple of 8, so that only some micro-batches have padding."""
    x = np.random.default_rng(0).normal(size=(num, 1, 400)).astype(np.float32)
    x[5, 0, :200] = np.nan
    return x


CASES = {
    "series": (gappy_series, {}),
    "series whose cell does not divide": (gappy_series, {"cell": 7}),
    "long series": (whole_series, {"cell": 1}),
    "images": (lambda: np.random.default_rng(0).normal(size=(60, 3, 9, 11)), {"cell": 2}),
    "text": (lambda: np.array(texts(), dtype=object), {}),
    "codes": (lambda: np.random.default_rng(0).integers(0, 5, (60, 12)), {"modality": "symbols"}),
    "table": (gappy_table, {}),
}


@pytest.fixture(scope="module", params=CASES)
def embedded(request):
    """An encoder, samples, and their vectors when all are embedded together."""
    make, settings = CASES[request.param]
    records = Records({"X": make()}, request.param)
    network = {**TINY, "depth": 2, "width": 32, "heads": 4}
    pretrained, _ = pretrain(records, settings={**network, "steps": 2, **settings})
    return pretrained, records, pretrained.embed(records)


def bits(array):
    return np.ascontiguousarray(array).view(np.uint32)


def subsets(num):
    rng = np.random.default_rng(1)
    yield "again", np.arange(num)
    yield "reversed", np.arange(num)[::-1]
    yield "shuffled", rng.permutation(num)
    yield "a third", rng.permutation(num)[: num // 3]
    yield "some twice", rng.integers(0, num, num)
    for position in (0, 3, 5, 7, num - 1):
        yield f"sample {position} alone", np.array([position])


def test_vectors_do_not_depend_on_their_company(embedded):
    pretrained, records, together = embedded
    assert together.dtype == np.float32 and np.isfinite(together).all()
    for name, index in subsets(len(records)):
        found = pretrained.embed(records.subset(index))
        assert np.array_equal(bits(found), bits(together[index])), name


def test_nor_do_those_of_tokens(embedded):
    pretrained, records, _ = embedded
    together = pretrained.embed(records, tokens=True)
    for name, index in list(subsets(len(records)))[2:6]:
        found = pretrained.embed(records.subset(index), tokens=True)
        for position, tokens in zip(index, found, strict=True):
            assert np.array_equal(bits(tokens), bits(together[position])), name


def test_a_samples_vector_is_the_mean_of_its_tokens(embedded):
    pretrained, records, vectors = embedded
    regions = pretrained.schema.modality.token_regions
    for tokens, vector in zip(pretrained.embed(records, tokens=True), vectors, strict=True):
        if regions is None:
            expected = tokens.mean(axis=0)
        else:  # of each part of an image
            parts = [tokens[regions == n].mean(axis=0) for n in range(regions.max() + 1)]
            expected = np.concatenate(parts)
        np.testing.assert_allclose(expected, vector, atol=1e-5)


def test_only_tokens_that_are_there_are_given_out(runs):
    words = np.array(["ACG", "ACGTACGTA", "A?C"], dtype=object)
    found = load(runs / "words").embed(Records({"text": words}, "words"), tokens=True)
    assert [len(tokens) for tokens in found] == [3, 9, 2]
    table = read({"a": np.array([1.0, np.nan]), "b": np.ones(2), "c": np.array(["red", None])})
    assert [len(t) for t in load(runs / "table").embed(table, tokens=True)] == [3, 1]


def test_nothing_is_drawn_and_nothing_dropped(embedded):
    pretrained, records, together = embedded
    generator = torch.random.get_rng_state()
    pretrained.module.train()
    assert np.array_equal(pretrained.embed(records), together)
    assert pretrained.module.backbone.training
    pretrained.module.eval()
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_vectors_differ_between_samples(embedded):
    _, _, together = embedded
    assert np.std(together, axis=0).max() > 1e-3


def test_every_sample_is_in_one_shape_that_follows_from_its_length(embedded):
    pretrained, records, _ = embedded
    spec = pretrained.schema.modality
    lengths = spec.lengths(records)
    seen, most = [], at_once(spec, torch.device("cpu"))
    for index, rows in by_length(spec, records, most):
        if spec.varies:
            own = {spec.num_tokens} if lengths is None else set(lengths[index])
            (tokens,) = {-(-int(n) // MULTIPLE) * MULTIPLE for n in own}
        else:
            tokens = spec.num_tokens
        assert rows == max(1, most // tokens)
        seen += index.tolist()
    assert sorted(seen) == list(range(len(records)))


def test_micro_batches_are_filled_to_their_shape(embedded, monkeypatch):
    # The promise rests on this where matrix products of other sizes round in another way.
    pretrained, records, _ = embedded
    backbone, shapes = pretrained.module.backbone, []
    whole = backbone.encode
    monkeypatch.setattr(backbone, "encode", lambda t: (shapes.append(t.values.shape), whole(t))[1])
    pretrained.embed(records.subset(np.arange(7)))
    spec = pretrained.schema.modality
    most = at_once(spec, torch.device("cpu"))
    assert all(rows == max(1, most // tokens) for rows, tokens, _ in shapes)
    assert all(
        tokens % (MULTIPLE if spec.varies else spec.num_tokens) == 0 for _, tokens, _ in shapes
    )


def test_progress_ends_with_all(embedded):
    pretrained, records, _ = embedded
    steps = []
    backbone, spec = pretrained.module.backbone, pretrained.schema.modality
    embed_samples(backbone, spec, records, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (len(records), len(records)) and steps == sorted(steps)


def test_the_module_is_put_back_after_an_error(runs):
    pretrained = load(runs / "series")
    pretrained.module.train()
    spoiled = np.zeros((2, 2, 16))
    spoiled[1, 0, 0] = np.inf
    with pytest.raises(DataError, match=r"array, sample 1: .* infinity"):
        pretrained.embed(spoiled)
    assert pretrained.module.backbone.training


@pytest.mark.parametrize(
    ("name", "samples", "message"),
    [
        ("series", np.zeros((3, 1, 16)), r"2 channel\(s\) x 16.*as in training; got shape \(1, 16"),
        ("series", np.zeros((3, 2, 15)), r"as in training; got shape \(2, 15\)"),
        ("series", np.zeros((3, 16)), r"as in training; got shape \(16,\)"),
        ("series", ["text", "more"], r"as in training; got shape \(\)"),
        ("series", np.full((3, 2, 16), np.nan), r"array, sample 0: .*at least one value"),
        ("table", {"a": np.ones(3), "c": np.ones(3)}, r"has no field 'b'.*Known: a, c"),
        ("table", {"a": ["x", "y"], "b": np.ones(2), "c": np.ones(2)}, r"'a' must hold numbers"),
        ("table", np.ones((3, 3)), r"has no field 'a'"),
        ("words", np.ones((3, 4)), r"'text' must hold text; got"),
        ("words", ["ACG", None], r"'text' must hold text; got a missing value"),
        ("words", ["ACG", "###"], r"at least one symbol that the training data held; got '###'"),
        ("words", ["ACG", ""], r"between 1 and 1024 symbols; got 0"),
        ("images", np.zeros((2, 1, 8, 8)), r"image, 3 channel\(s\) x 8 x 8.*got shape \(1, 8, 8\)"),
        ("images", np.zeros((2, 3, 8, 9)), r"got shape \(3, 8, 9\)"),
    ],
)
def test_what_does_not_fit_the_schema_is_named(runs, name, samples, message):
    with pytest.raises(DataError, match=message):
        load(runs / name).embed(samples)


def test_extra_columns_and_their_order_do_not_matter(runs, data):
    pretrained = load(runs / "table")
    records = read(data / "table.csv")
    mixed = Records({name: records[name] for name in ("size", "c", "kind", "b", "a")}, "mixed")
    assert np.array_equal(pretrained.embed(records), pretrained.embed(mixed))
