"""Fields of a sample side by side: which there are, how they count, what a missing one does."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from cases import build, case, objects, rng
from metamae.data.presence import given
from metamae.data.records import Records
from metamae.encoder.embedding import MULTIPLE as EMBEDDED
from metamae.encoder.embedding import embed_samples
from metamae.errors import ConfigError, DataError
from metamae.methods.metamae import touching
from metamae.modalities import MODALITIES
from metamae.modalities.grid.grid import Grid
from metamae.modalities.mixture.fields import choose_fields
from metamae.modalities.mixture.measuring import PARTS
from metamae.modalities.mixture.mixture import Mixture
from metamae.modalities.mixture.slots import (
    MULTIPLE,
    Slot,
    find_slots,
    join,
    join_neighbours,
    token_weights,
)
from metamae.schema.schema import parts_of

SEED = 0


def generator():
    return np.random.default_rng(SEED)


def columns(num=12):
    """Images, texts and two numbers; only the first two samples have everything."""
    image = generator().normal(3.0, 2.0, (num, 1, 8, 8))
    words = ["".join(generator().choice(list("abc"), 3 + n)) for n in range(num)]
    one, two = generator().normal(size=(2, num))
    image[2::3], words[3::3] = np.nan, [None] * len(words[3::3])
    one[4], two[4] = np.nan, np.nan
    return {"image": image, "text": objects(words), "one": one, "two": two}


def infer(data=None, **settings):
    records = Records(columns() if data is None else data, "array")
    settings.setdefault("parts", parts_of(records))
    spec, _ = Mixture.infer(records, generator(), **settings)
    return spec, records


def every(records):
    return np.arange(len(records))


# ---- which fields there are


def test_fields_are_guessed_from_the_columns():
    data = {
        **columns(),
        "rows": np.ones((12, 3)),
        "ragged": objects([np.ones(n + 2) for n in range(12)]),
        "colour": objects(["red", "green", None] * 4),
        "flag": np.arange(12) % 2 == 0,
    }
    records = Records(data, "array")
    assert [(f.name, f.kind, f.columns) for f in choose_fields(records, parts_of(records))] == [
        ("image", "grid", ("image",)),
        ("text", "symbols", ("text",)),
        ("rows", "table", ("rows",)),
        ("ragged", "grid", ("ragged",)),
        ("table", "table", ("one", "two", "colour", "flag")),
    ]


def test_parts_must_be_said():
    with pytest.raises(ConfigError, match="parts must be a list of fields; got None"):
        Mixture.infer(Records(columns(), "array"), generator())


def test_fields_may_be_given():
    parts = [
        {"name": "picture", "kind": "grid", "columns": ["image"], "settings": {"cell": 4}},
        {"name": "text", "kind": "symbols"},
    ]
    spec, _ = infer(parts=parts)
    assert spec.columns == ("image", "text")
    assert [name for name, _ in spec.parts] == ["picture", "text"]
    assert spec.parts[0][1].cell == (4, 4)


def test_notes_say_what_every_part_is():
    records = Records(columns(), "array")
    _, notes = Mixture.infer(records, generator(), parts=parts_of(records))
    text = "\n".join(notes)
    assert "part 'image': image, 1 channel(s) x 8 x 8" in text
    assert "part 'image': missing in 4 of 12 samples" in text
    assert "part 'text': missing in 3 of 12 samples" in text


IMAGE, TEXT = {"name": "image", "kind": "grid"}, {"name": "text", "kind": "symbols"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ("image", r"parts must be a list of fields; got 'image'"),
        (["image", "text"], r"table of settings for each field; got 'image'"),
        ([IMAGE], r"at least 2; got \['image'\] from the columns image, text, one, two"),
        ([IMAGE, IMAGE], r"different names; got 'image' twice"),
        ([IMAGE, {**TEXT, "columns": ["image"]}], r"share a column; got 'image' in 'image' and"),
        ([IMAGE, {**TEXT, "columns": ["txt"]}], r"got 'txt'\. Did you mean 'text'\?"),
        ([IMAGE, {**TEXT, "columns": []}], r"columns must be a list of names of columns; got \[\]"),
        ([IMAGE, {**TEXT, "columns": "text"}], r"a list of names of columns; got 'text'"),
        ([IMAGE, {"kind": "symbols"}], r"name must be a word; got None"),
        ([IMAGE, {"name": "text"}], r"kind must be the name of a modality; got None"),
        ([IMAGE, {**TEXT, "kind": "symbol"}], r"Unknown modality of a part 'symbol'\. Did you"),
        ([IMAGE, {**TEXT, "kind": "mixture"}], r"Unknown modality of a part 'mixture'"),
        ([IMAGE, {**TEXT, "settings": 3}], r"settings must be a table of settings; got 3"),
        (
            [IMAGE, {**TEXT, "settings": {"max_symbol": 3}}],
            r"'symbols' of 'text' has no setting 'm",
        ),
        ([IMAGE, {**TEXT, "setting": {}}], r"no setting 'setting'\. Did you mean 'settings'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(ConfigError, match=message):
        infer(parts=parts)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"weights must be a number for each part; got \[1, 2\]"),
        ({"txt": 1.0}, r"no part 'txt'\. Did you mean 'text'"),
        ({"text": 0}, r"weights\['text'\] must be a number strictly between 0 and inf; got 0"),
        ({"text": "2"}, r"weights\['text'\] must be a number"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        infer(weights=weights)


def test_a_part_that_hardly_any_sample_has_is_refused():
    data = columns()
    data["image"][1:] = np.nan
    with pytest.raises(DataError, match=r"'image' of a mixture must be there in at least 2 sam"):
        infer(data)


def test_samples_that_would_be_cut_are_refused(monkeypatch):
    spec, records = infer()
    monkeypatch.setattr(Grid, "unfold", lambda _, own: (own, every(own)))
    with pytest.raises(
        ConfigError, match=r"'image' must hold samples that are taken whole.*window"
    ):
        spec.unfold(records)
    with pytest.raises(ConfigError, match=r"taken whole"):
        infer()


def test_every_other_modality_may_be_a_part():
    others = {name: owner for name, owner in MODALITIES.entries.items() if name != "mixture"}
    assert PARTS.entries == others


@pytest.mark.parametrize("kind", PARTS.entries)
def test_what_any_modality_makes_is_joined(kind):
    """Each sample has a text; every third lacks the other field; company changes no bit."""
    found = PARTS.get(kind).example(9, generator())
    data, missing = {}, np.arange(9) % 3 == 1
    for name in found:
        values = np.asarray(found[name][np.arange(9)])
        hollow = values.astype(float if values.dtype.kind in "iub" else values.dtype)
        hollow[missing] = None if values.dtype == object else np.nan
        data[f"other/{name}"] = hollow
    parts = [{"name": "other", "kind": kind, "columns": list(data)}, TEXT]
    text = objects(["abcabcabcabc"[: 2 + n] for n in range(9)])
    spec, records = infer({**data, "text": text}, parts=parts)
    assert ((spec.lengths(records)[:, 0] == 0) == missing).all()
    model = build(spec)
    loss = model(spec.batch(records, every(records)), rng()).loss
    loss.backward()
    assert loss.isfinite()
    assert all(value.grad.isfinite().all() for value in model.parameters())
    together = embed_samples(model.backbone, spec, records)
    for row in (0, 1, 5):
        alone = embed_samples(model.backbone, spec, records.subset(np.array([row])))
        assert np.array_equal(alone[0].view(np.uint32), together[row].view(np.uint32))


def test_measuring_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    infer()
    assert torch.equal(torch.get_rng_state(), before)


def test_names_may_hold_a_slash():
    data = columns()
    data = {"a/b": data["image"], "a": data["text"]}
    parts = [{"name": "a/b", "kind": "grid"}, {"name": "a", "kind": "symbols"}]
    spec, records = infer(data, parts=parts)
    batch = spec.batch(records.subset(np.array([0, 1])), np.arange(2))
    assert [slot.batch.keys() for slot in find_slots(spec.fields, batch)] == [
        {"cells"},
        {"codes", "valid"},
    ]


# ---- what a sample has


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1.0, np.nan]), [True, False]),
        (np.array([[1.0, np.nan], [np.nan, np.nan]]), [True, False]),
        (np.array([0, 1]), [True, True]),
        (np.array(["2020", "NaT"], dtype="datetime64[D]"), [True, False]),
        (objects(["a", ""]), [True, False]),
        (objects([np.zeros(2), None]), [True, False]),
        (objects([np.zeros(2, dtype=int), np.zeros(0, dtype=int)]), [True, False]),
        (objects([np.array([1.0, np.nan]), np.full((2, 2), np.nan)]), [True, False]),
        (objects([0.0, float("nan")]), [True, False]),
        (objects([True, None]), [True, False]),
    ],
)
def test_what_counts_as_missing(values, expected):
    records = Records({"x": values}, "array")
    for every in (True, False):
        assert given(records, every=every).tolist() == expected


def test_a_table_needs_one_of_its_columns_and_other_fields_all():
    x, y = np.array([1.0, np.nan, np.nan]), np.array([np.nan, 2.0, np.nan])
    assert given(Records({"x": x, "y": y}, "array"), every=False).tolist() == [True, True, False]
    sound = {"sound": objects([np.ones(3), None, np.ones(9)]), "rate": np.array([8, 8, 8])}
    assert given(Records(sound, "array"), every=True).tolist() == [True, False, True]


def test_lengths_are_those_of_the_fields_and_0_where_one_is_missing():
    spec, records = infer()
    expected = [
        [
            0 if n % 3 == 2 else 16,
            0 if n % 3 == 0 and n >= 3 else 3 + n,
            0 if n == 4 else 2,
        ]
        for n in range(12)
    ]
    assert spec.lengths(records).tolist() == expected
    assert spec.num_tokens == 16 + 16 + 2
    assert spec.varies
    assert spec.present(records, every(records)).all()


def test_a_part_says_itself_whether_it_can_use_what_is_given():
    data = {**columns(), "colour": objects(["red", "green"] * 6)}
    spec, _ = infer(data)
    data = {name: column.copy() for name, column in data.items()}
    data["one"][1], data["two"][1], data["colour"][1] = np.nan, np.nan, "never seen"
    records = Records(data, "array")
    assert spec.lengths(records)[:3, 2].tolist() == [3, 0, 3]
    assert (spec.batch(records, np.arange(3))["table/weight"][1] == 0).all()


def test_a_sample_without_any_field_is_named():
    spec, records = infer()
    data = {name: column.copy() for name, column in records.columns.items()}
    data["image"][5], data["text"][5], data["one"][5], data["two"][5] = np.nan, "", np.nan, np.nan
    bare = Records(data, "array").subset(np.array([4, 5, 6]))
    assert spec.present(bare, np.arange(3)).tolist() == [True, False, True]
    with pytest.raises(
        DataError, match=r"array, sample 5: .* at least one of image, text, table;"
    ) as e:
        spec.batch(bare, np.array([1, 2]))
    assert e.value.sample == 5


def test_what_does_not_fit_a_part_is_named_by_its_own_position():
    spec, records = infer()
    data = {name: column.copy() for name, column in records.columns.items()}
    data["image"][7, 0, 0, 0] = np.inf
    bad = Records(data, "array").subset(np.array([1, 3, 7]))
    with pytest.raises(DataError, match=r"array, sample 7: field 'image'"):
        spec.batch(bad, np.array([1, 2]))


def test_the_entries_are_those_of_the_parts():
    spec, records = infer()
    index = np.array([4, 2, 0, 3])
    batch = spec.batch(records, index)
    for name, part in spec.parts:
        has = [n for n, row in enumerate(spec.lengths(records)[index]) if row[_number(spec, name)]]
        own = part.batch(records, index[has])
        for key, values in own.items():
            assert torch.equal(batch[f"{name}/{key}"][has], values), (name, key)
        assert all(len(values) == 4 for values in batch.values())


def _number(spec, name):
    return [own for own, _ in spec.parts].index(name)


def test_a_field_that_all_samples_lack_has_no_tokens():
    spec, records = infer()
    batch = spec.batch(records, np.array([2, 5, 8]))
    assert not any(key.startswith("image/") for key in batch)
    tokens = spec.tokenizer(16).embed(batch)
    assert tokens.values.shape == (3, 16 + 2, 16)
    assert tokens.fields.unique().tolist() == [1, 2]
    model = build(spec)
    assert model(batch, rng()).loss.isfinite()
    found = model.reconstruct(batch, rng())
    assert [row["image"] for row in spec.tokenizer(16).original(batch)] == [None] * 3
    rows = model.backbone.tokenizer.decode(found.before, batch)
    assert [row["image"] for row in rows] == [None] * 3


# ---- weights


@for_all(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_weights_of_tokens(sizes, seed):
    draw = np.random.default_rng(seed)
    there = [torch.from_numpy(draw.random((5, n)) < 0.5) for n in sizes]
    there[0][:, 0] = True
    weights = draw.uniform(0.1, 5, len(sizes)).tolist()
    found = token_weights(there, weights)
    for row in range(5):
        counts = [int(own[row].sum()) for own in there]
        total = sum(w for w, n in zip(weights, counts, strict=True) if n)
        for own, one, w, n in zip(there, found, weights, counts, strict=True):
            each = sum(counts) * w / total / n if n else 0.0
            expected = [each if here else 0.0 for here in own[row].tolist()]
            np.testing.assert_allclose(one[row], expected, rtol=1e-6)
        assert sum(float(one[row].sum()) for one in found) == pytest.approx(sum(counts), rel=1e-5)


def test_the_error_is_that_of_the_parts_balanced():
    spec, records = infer(weights={"text": 3.0})
    batch = spec.batch(records, every(records))
    tokenizer = spec.tokenizer(16)
    predicted = torch.randn(12, spec.num_tokens, 16, generator=rng())
    error = tokenizer.error(predicted, batch)
    there = ~tokenizer.embed(batch).padding
    lengths, start = spec.lengths(records), 0
    for number, (name, part) in enumerate(spec.parts):
        own = {k.split("/")[1]: v for k, v in batch.items() if k.startswith(f"{name}/")}
        N = own.pop("weight").shape[1]
        head, judge = tokenizer.heads[number], tokenizer.parts[number]
        plain = judge.error(head(predicted[:, start : start + N]), own)
        for row in range(12):
            n = lengths[row]
            if n[number]:
                present = sum(w for w, k in zip((1, 3, 1), n, strict=True) if k)
                weight = n.sum() * (1, 3, 1)[number] / present / n[number]
                expected = plain[row] / spec.scales[number] * weight
                here = there[row, start : start + N]
                torch.testing.assert_close(error[row, start : start + N][here], expected[here])
        start += N if not part.varies else -(-N // 8) * 8
    assert error.isfinite().all()


def test_guessing_the_mean_costs_about_1_in_every_field():
    num, draw = 400, generator()
    data = {
        "image": draw.normal(50, 9, (num, 1, 8, 8)),
        "text": objects(["".join(draw.permutation(list("abcdefgh"))) for _ in range(num)]),
        "code": objects(["".join(draw.choice(list("xy"), 9)) for _ in range(num)]),
    }
    kinds = {"image": "grid", "text": "symbols", "code": "symbols"}
    spec, records = infer(data, parts=[{"name": n, "kind": kind} for n, kind in kinds.items()])
    batch = spec.batch(records, every(records))
    baseline = spec.tokenizer(16).baseline(batch)
    tokens = spec.tokenizer(16).embed(batch)
    sums = [float(baseline[:, tokens.fields == n].sum()) for n in range(3)]
    total = float((~tokens.padding).sum())
    np.testing.assert_allclose(sums, total / 3, rtol=0.05)
    assert spec.scales[1] == pytest.approx(np.log(8), rel=0.01)


# ---- tokens


def test_neighbours_against_a_slow_reference():
    spec, records = infer()
    batch = spec.batch(records, every(records))
    tokenizer = spec.tokenizer(16)
    tokens = tokenizer.embed(batch)
    place, expected = 0, {}
    for number, (name, part) in enumerate(spec.parts):
        own = {k.split("/")[1]: v for k, v in batch.items() if k.startswith(f"{name}/")}
        N = own.pop("weight").shape[1]
        near = tokenizer.parts[number].embed(own).neighbours
        for n in range(N):
            beside = range(N) if near is None else [k for k in near[n].tolist() if k >= 0]
            expected[place + n] = {place + k for k in beside}
        room = -(-N // 8) * 8 if part.varies else N
        assert (tokens.fields[place : place + room] == number).all()
        place += room
    assert place == tokens.values.shape[1]
    for n, near in enumerate(tokens.neighbours.tolist()):
        assert {k for k in near if k >= 0} == expected.get(n, set())


def test_fields_do_not_touch_each_other():
    spec, records = infer()
    tokens = spec.tokenizer(16).embed(spec.batch(records, np.array([0, 1])))
    visible = (tokens.fields == 0).expand(2, -1)
    assert torch.equal(touching(visible, tokens.neighbours), visible)


def test_neighbours_and_positions_that_follow_from_the_sample_are_joined():
    weight = torch.ones(2, 3)
    slots = [Slot(0, {}, weight, 0, 5), Slot(1, {}, torch.ones(2, 2), 8, 0)]
    near = torch.tensor([[[1], [0], [-1]], [[2], [-1], [0]]])
    found = join_neighbours(slots, [near, None])
    nothing = [[-1, -1]] * 5
    assert found.tolist() == [
        [[1, -1], [0, -1], [-1, -1], *nothing, [8, 9], [8, 9]],
        [[2, -1], [-1, -1], [0, -1], *nothing, [8, 9], [8, 9]],
    ]
    assert join([torch.ones(3, 4), torch.zeros(2, 1, 4)]).shape == (2, 4, 4)
    assert join([torch.ones(3, 4), torch.zeros(1, 4)]).shape == (4, 4)


def test_reconstructions_are_told_apart_by_field():
    spec, records = infer()
    batch = spec.batch(records, every(records))
    tokenizer = spec.tokenizer(16)
    for row, shown in enumerate(tokenizer.original(batch)):
        image = records["image"][row]
        if np.isnan(image).all():
            assert shown["image"] is None
        else:
            np.testing.assert_allclose(shown["image"], image, rtol=1e-5, atol=1e-5)
        assert shown["text"] == records["text"][row]
        assert (shown["table"] is None) == (row == 4)
    hidden = spec.tokenizer(16).embed(batch).fields == 1
    for row, marks in enumerate(tokenizer.spread(hidden.expand(12, -1), batch)):
        assert marks["image"] is None or not marks["image"].any()
        assert (marks["text"] is None) == (records["text"][row] is None)
        assert marks["text"] is None or marks["text"].all()


def test_raw_features_are_those_of_the_parts_and_flags():
    spec, records = infer()
    raw = spec.raw(records, every(records))
    widths = [part.raw(records, np.array([0])).shape[1] for _, part in spec.parts]
    assert raw.shape == (12, sum(widths) + 3)
    flags = np.cumsum([n + 1 for n in widths]) - 1
    np.testing.assert_array_equal(raw[:, flags], spec.lengths(records) == 0)
    np.testing.assert_array_equal(
        raw[[0, 1], : widths[0]], spec.parts[0][1].raw(records, np.array([0, 1]))
    )
    assert not raw[2, : widths[0]].any()


def test_the_mask_ratio_lies_between_those_of_the_parts():
    data = {
        "image": np.random.default_rng(0).normal(size=(9, 1, 16, 16)),
        "text": columns(9)["text"],
    }
    parts = [{**IMAGE, "settings": {"cell": 2}}, TEXT]
    spec, _ = infer(data, parts=parts)
    image, text = (part for _, part in spec.parts)
    assert (image.num_tokens, image.mask_ratio, text.mask_ratio) == (64, 0.75, 0.5)
    n = text.num_tokens
    assert spec.mask_ratio == pytest.approx((64 * 0.75 + n * 0.5) / (64 + n))


def test_a_spec_survives_json_with_its_parts():
    spec, _ = infer(weights={"table": 0.5})
    again = Mixture.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert [type(part) for _, part in again.parts] == [type(part) for _, part in spec.parts]
    assert again.weights == (1.0, 1.0, 0.5)


# ---- company


def test_slots_are_rounded_as_embedding_rounds_lengths():
    assert MULTIPLE == EMBEDDED


@pytest.mark.parametrize("name", ["example of mixture", "gaps"])
def test_vectors_have_the_same_bits_whatever_stands_beside(name):
    spec, records = infer() if name == "gaps" else case(name)
    backbone = build(spec).eval().backbone
    together = embed_samples(backbone, spec, records)
    assert np.isfinite(together).all()
    order = np.random.default_rng(1).permutation(len(records))
    for index in (order, order[:3], *([n] for n in range(len(records)))):
        found = embed_samples(backbone, spec, records.subset(np.array(index)))
        assert np.array_equal(found.view(np.uint32), together[index].view(np.uint32)), index


def test_a_sample_does_not_feel_the_fields_of_others():
    spec, records = infer()
    model = build(spec).eval()
    whole = spec.batch(records, every(records))
    alone = spec.batch(records, np.array([3]))  # no text
    there = ~model.backbone.tokenizer.embed(whole).padding[3]
    tokens = model.backbone.tokenizer.embed(whole).values[3][there]
    torch.testing.assert_close(tokens, model.backbone.tokenizer.embed(alone).values[0])
    torch.testing.assert_close(
        model.backbone.features(whole)[3], model.backbone.features(alone)[0], rtol=1e-4, atol=1e-5
    )


def test_one_field_is_learnt_from_the_other():
    """A text that names the sign of an image: with the image alone in sight it can be told."""
    num = 64
    sign = generator().choice([-1.0, 1.0], num)
    image = sign[:, None, None, None] * (1 + 0.1 * generator().normal(size=(num, 1, 4, 4)))
    text = objects(["aaaa" if s > 0 else "bbbb" for s in sign])
    parts = [{**IMAGE, "settings": {"cell": 2}}, TEXT]
    spec, records = infer({"image": image, "text": text}, parts=parts)
    model = build(spec, "mae", "field", ratio=0.5)
    batch = spec.batch(records, every(records))
    draws, weights = rng(), list(model.parameters())
    for _ in range(40):
        gradients = torch.autograd.grad(model(batch, draws).loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.1 * gradient
    model.masking.whole = 1.0
    assert float(model.eval()(batch, rng(5)).logs["r2"]) > 0.8
