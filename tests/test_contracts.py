"""What holds for every method on every modality with every masking."""

import json
import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cases import CASES, NETWORK, NUM, build, case, hides, objects, read, rng
from metamae.masking import MASKINGS
from metamae.masking.base import Masking
from metamae.methods import METHODS
from metamae.methods.base import Method
from metamae.modalities import MODALITIES
from metamae.model.decoder import DECODERS
from metamae.schema.kinds import modality_settings
from metamae.schema.schema import parts_of

# Parameters that a loss need not reach: a mixture completes predictions by heads of its parts,
# which a method that predicts no data has no use for.
UNREACHED = re.compile(r"backbone\.tokenizer\.heads\.\d+\.(weight|bias)")

everywhere = pytest.mark.parametrize("name", CASES)
every_method = pytest.mark.parametrize("method", METHODS.entries)
# What a masking does follows from the tokens and what a method does from the mask, so that every
# method with one masking and one method with every masking say as much as all pairs.
PAIRS = [*((method, "random") for method in METHODS.entries)]
PAIRS += [("metamae", masking) for masking in MASKINGS.entries if masking != "random"]
every_pair = pytest.mark.parametrize(("method", "masking"), PAIRS)
RECONSTRUCTING = [
    m for m in METHODS.entries if METHODS.get(m).reconstruct is not Method.reconstruct
]
every_reconstructing = pytest.mark.parametrize("method", RECONSTRUCTING)


class ByPlace(Masking):
    """Hides by place among the tokens that are there: the shape of the batch changes nothing."""

    def scores(self, tokens, rng):
        there = torch.ones(tokens.values.shape[:2], dtype=torch.long)
        if tokens.padding is not None:
            there = (~tokens.padding).long()
        return (there.cumsum(dim=1) * 0.7).sin()


def without_draws(model):
    """Take the draws of masking and support away: the loss is then a function of the batch."""
    if hasattr(model, "masking"):
        model.masking = ByPlace(ratio=0.5)
    if hasattr(model, "support_share"):
        model.support_share = 0.0
    if hasattr(model, "arrange"):
        model.arrange = lambda tokens, rng: ByPlace(ratio=0.5).scores(tokens, rng).square()
    return model


def loss_of(model, batch, seed=0):
    return model(batch, rng(seed)).loss


def global_generators() -> list[Any]:
    keys, *rest = np.random.get_state()[1:]  # noqa: NPY002
    return [torch.get_rng_state().tolist(), keys.tolist(), rest, random.getstate()]


@everywhere
@every_pair
def test_loss_is_finite_and_reaches_every_parameter(name, method, masking):
    spec, batch = read(name)
    model = build(spec, method, masking)
    step = model(batch, rng())
    assert step.loss.ndim == 0
    assert step.loss.isfinite()
    assert all(value.ndim == 0 and not value.requires_grad for value in step.logs.values())
    assert all(value.isfinite() for value in step.logs.values())
    step.loss.backward()
    unreached = [
        key
        for key, value in model.named_parameters()
        if value.requires_grad
        if value.grad is None or not value.grad.isfinite().all() or not value.grad.any()
    ]
    if method not in RECONSTRUCTING:
        unreached = [key for key in unreached if not UNREACHED.fullmatch(key)]
    assert unreached == []


@everywhere
@pytest.mark.parametrize("method", ["mae", "metamae"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_learns(name, method, decoder):
    spec, batch = read(name)
    # Where nothing is learnt the support holds the visible only; so it does here.
    alike = {"support_share": 0.0} if method == "metamae" else {}
    model = build(spec, method, network=replace(NETWORK, decoder=decoder), **alike)
    step = model(batch, rng())
    # To train, only what a loss asks for is predicted; to evaluate, everything.
    checked = model.eval()(batch, rng())
    torch.testing.assert_close(step.logs["reconstruction"], checked.logs["reconstruction"])
    step.loss.backward()
    unreached = [
        key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()
    ]
    assert unreached == []


@everywhere
@every_pair
def test_a_seed_decides_everything(name, method, masking):
    spec, batch = read(name)
    # Dropout makes the seed matter even where there is only one way to hide tokens.
    shaky = replace(NETWORK, dropout=0.3)
    first, again = (build(spec, method, masking, network=shaky) for _ in range(2))
    loss = loss_of(first, batch)
    assert torch.equal(loss, loss_of(again, batch))
    assert not torch.equal(loss, loss_of(again, batch, seed=1))
    other = build(spec, method, masking, network=shaky, seed=1)
    assert not torch.equal(loss, loss_of(other, batch))


@everywhere
@every_pair
def test_global_generators_are_left_alone(name, method, masking):
    spec, batch = read(name)
    before = global_generators()
    model = build(spec, method, masking, network=replace(NETWORK, dropout=0.3))
    loss_of(model, batch).backward()
    if method in RECONSTRUCTING:
        model.eval().reconstruct(batch, rng())
    model.backbone.features(batch)
    assert global_generators() == before


def padding_of(name):
    """True where there is no token, (B, N)."""
    return padding_in(*read(name))


def padding_in(spec, batch):
    tokens = spec.tokenizer(16).embed(batch)
    nowhere = torch.zeros(tokens.values.shape[:2], dtype=torch.bool)
    return nowhere if tokens.padding is None else tokens.padding


@everywhere
def test_padding_is_told_only_where_something_is_missing(name):
    spec, batch = read(name)
    padding = spec.tokenizer(16).embed(batch).padding
    assert (padding is None) == ("valid" not in batch)
    if padding is not None:
        valid = batch["valid"]
        assert torch.equal(padding, ~(valid if valid.ndim == 2 else valid.any(dim=-1)))


def with_ones(batch, *, tokens):
    """The batch with 1 in all values that are missing, or in those of missing `tokens` only."""
    changed = dict(batch)
    for key in batch:
        part, slash, entry = key.rpartition("/")  # a mixture's entries are "part/entry"
        if entry not in ("cells", "codes", "groups"):
            continue
        values = changed[key] = batch[key].clone()
        valid = batch.get(f"{part}{slash}valid", torch.ones(values.shape[:2], dtype=torch.bool))
        if slash:
            weight = batch[f"{part}/weight"] > 0
            valid = valid & (weight if valid.ndim == 2 else weight[..., None])
        values[~(valid.any(dim=-1) if tokens and valid.ndim > 2 else valid)] = 1
    return changed


@pytest.mark.parametrize("name", [name for name in CASES if padding_of(name).any()])
@every_method
def test_what_stands_in_padding_changes_nothing(name, method):
    spec, batch = read(name)
    model = build(spec, method).eval()
    changed = with_ones(batch, tokens=True)
    assert any(not torch.equal(value, batch[key]) for key, value in changed.items())
    assert torch.equal(model(batch, rng()).loss, model(changed, rng()).loss)
    assert torch.equal(model.backbone.features(batch), model.backbone.features(changed))


@pytest.mark.parametrize("name", [name for name in CASES if "valid" in read(name)[1]])
def test_what_is_missing_is_no_target(name):
    spec, batch = read(name)
    tokenizer = spec.tokenizer(16)
    predicted = tokenizer.head(8)(torch.randn(NUM, spec.num_tokens, 8, generator=rng()))
    changed = with_ones(batch, tokens=False)
    there = ~padding_of(name)
    for measure in (tokenizer.baseline, lambda b: tokenizer.error(predicted, b)):
        assert torch.equal(measure(batch)[there], measure(changed)[there])
        assert measure(batch).isfinite().all()


@pytest.mark.parametrize("name", [name for name in CASES if case(name)[0].kind == "symbols"])
@every_method
def test_longer_padding_changes_nothing(name, method):
    spec, batch = read(name)
    model = without_draws(build(spec, method)).eval()
    valid = batch.get("valid", torch.ones_like(batch["codes"], dtype=torch.bool))
    longer = {
        "codes": torch.nn.functional.pad(batch["codes"], (0, 5), value=1),
        "valid": torch.nn.functional.pad(valid, (0, 5), value=False),
    }
    torch.testing.assert_close(loss_of(model, batch), loss_of(model, longer))
    torch.testing.assert_close(model.backbone.features(batch), model.backbone.features(longer))


@everywhere
@every_reconstructing
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_batch_is_the_mean_of_its_samples(name, method, decoder):
    """Neither the reconstruction of a sample nor its latents depend on its companions."""
    spec, records = case(name)
    model = without_draws(build(spec, method, network=replace(NETWORK, decoder=decoder))).eval()
    _, batch = read(name)
    whole = model.reconstruct(batch, rng())
    assert not whole.hidden[padding_of(name)].any()
    for row in range(NUM):
        single = spec.batch(records, np.array([row]))
        alone = model.reconstruct(single, rng())
        among, itself = ~padding_of(name)[row], ~padding_in(spec, single)[0]
        assert torch.equal(whole.hidden[row][among], alone.hidden[0][itself])
        for all_together, by_itself in ((whole.before, alone.before), (whole.after, alone.after)):
            if by_itself is not None:
                torch.testing.assert_close(
                    all_together[row][among], by_itself[0][itself], rtol=1e-4, atol=1e-5
                )


@everywhere
def test_features_do_not_depend_on_companions(name):
    spec, records = case(name)
    backbone = build(spec).eval().backbone
    _, batch = read(name)
    features = backbone.features(batch)
    assert features.shape == (NUM, NETWORK.width)
    alone = [backbone.features(spec.batch(records, np.array([row]))) for row in range(NUM)]
    torch.testing.assert_close(features, torch.cat(alone), rtol=1e-4, atol=1e-5)
    reversed_ = backbone.features(spec.batch(records, np.arange(NUM)[::-1]))
    torch.testing.assert_close(features, reversed_.flip(0), rtol=1e-4, atol=1e-5)
    padded = backbone.features(batch, multiple=8)
    torch.testing.assert_close(features, padded, rtol=1e-4, atol=1e-5)


@everywhere
@every_method
def test_weights_say_everything(name, method):
    spec, batch = read(name)
    model, other = build(spec, method), build(spec, method, seed=1)
    model(batch, rng())  # moves the statistics of the batch norm
    weights = model.state_dict()
    assert other.load_state_dict(weights).missing_keys == []
    assert weights.keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in weights.items())
    assert torch.equal(loss_of(model.eval(), batch), loss_of(other.eval(), batch))
    assert torch.equal(model.backbone.features(batch), other.backbone.features(batch))


@everywhere
@every_method
def test_evaluation_needs_no_gradient_and_drops_nothing(name, method):
    spec, batch = read(name)
    model = build(spec, method, network=replace(NETWORK, dropout=0.5)).eval()
    with torch.no_grad():
        step = model(batch, rng())
    assert not step.loss.requires_grad
    torch.testing.assert_close(step.loss, model(batch, rng()).loss.detach())
    plain = build(spec, method).eval()
    torch.testing.assert_close(step.loss, plain(batch, rng()).loss.detach())
    assert all(value.grad is None for value in model.parameters())


@everywhere
@every_pair
def test_one_visible_token_is_enough(name, method, masking):
    spec, batch = read(name)
    model = build(spec, method, masking, ratio=0.99)
    if hides(method):
        tokens = model.backbone.tokenizer.embed(batch)
        assert model.masking(tokens, rng()).kept.shape[1] == 1
    loss = model(batch, rng()).loss
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@everywhere
@every_method
def test_one_sample_is_enough(name, method):
    spec, records = case(name)
    loss = loss_of(build(spec, method), spec.batch(records, np.array([3])))
    assert loss.isfinite()


@everywhere
def test_spec_survives_json(name):
    spec, _ = case(name)
    text = json.dumps(spec.to_dict())
    values = json.loads(text)
    assert values["kind"] in MODALITIES.entries
    again = MODALITIES.get(values["kind"]).from_dict(values)
    assert again == spec
    assert hash(again) == hash(spec)
    assert json.dumps(again.to_dict()) == text
    assert spec.describe()
    assert 0 < spec.mask_ratio < 1
    assert spec.columns == ("X",) or spec.kind in ("table", "mixture")


@everywhere
def test_sizes_fit_together(name):
    spec, records = case(name)
    _, batch = read(name)
    tokenizer = spec.tokenizer(16)
    tokens = tokenizer.embed(batch)
    B, N, D = tokens.values.shape
    assert (B, N, D) == (NUM, spec.num_tokens, 16)
    if tokens.neighbours is not None:
        assert tokens.neighbours.dtype == torch.int64
        assert tokens.neighbours.shape[-2] == N
        assert tokens.neighbours.min() >= -1
        assert tokens.neighbours.max() < N
    if tokens.padding is not None:
        assert tokens.padding.shape == (B, N)
        assert tokens.padding.dtype == torch.bool
    lengths = spec.lengths(records)
    if spec.kind == "mixture":
        longest = zip(lengths.max(axis=0), spec.parts, strict=True)
        assert N == sum(-(-n // 8) * 8 if part.varies else n for n, (_, part) in longest)
    else:
        assert lengths is None or (len(lengths) == B and lengths.max() == N)
    assert (tokens.fields is not None) == (spec.kind == "mixture")
    predicted = tokenizer.head(8)(torch.randn(B, N, 8, generator=rng()))
    assert tokenizer.error(predicted, batch).shape == (B, N)
    assert tokenizer.baseline(batch).shape == (B, N)
    assert tokenizer.positions(8)(batch).shape in ((N, 8), (B, N, 8))
    raw = spec.raw(records, np.arange(NUM))
    assert raw.dtype == np.float32
    assert raw.shape[0] == NUM
    assert np.isfinite(raw).all()
    alone = [spec.raw(records, np.array([row])) for row in range(NUM)]
    np.testing.assert_array_equal(raw, np.concatenate(alone))


def lattice_of(spec, value):
    """A value of the user's with channels first, prepared."""
    first = {"first": value, "last": np.moveaxis(value, -1, 0), "none": value[None]}[spec.layout]
    return first if spec.preparation is None else spec.preparation(first, None)


@everywhere
def test_originals_are_what_the_user_gave(name):
    spec, records = case(name)
    _, batch = read(name)
    original = spec.tokenizer(16).original(batch)
    if spec.kind != "mixture":
        check_original(spec, records, original)
        return
    for field, part in spec.parts:
        some = np.flatnonzero([row[field] is not None for row in original])
        values = [row[field] for row in original[some]]
        values = np.stack(values) if part.kind == "table" else objects(values)
        check_original(part, records.subset(some), values)


def check_original(spec, records, original):
    if spec.kind == "grid":
        for shown, given in zip(original, records[spec.columns[0]], strict=True):
            np.testing.assert_allclose(shown, lattice_of(spec, given), rtol=1e-5, atol=1e-5)
    elif spec.kind == "symbols":
        for shown, given in zip(original, records[spec.columns[0]], strict=True):
            if isinstance(given, str):
                assert shown == given
            else:
                none = 0 if spec.padding_code == 0 else -1
                assert list(shown[: len(given)]) == list(given)
                assert all(shown[len(given) :] == none)
    elif spec.kind == "points":
        for shown, given in zip(original, records[spec.columns[0]], strict=True):
            # Overlapping groups give points more than once, in an order of their own.
            away = np.abs(shown[:, None] - given).max(axis=-1)
            assert np.nanmin(away, axis=1).max() < 1e-4
    elif spec.kind == "table":
        check_cells(spec, records, original)


def check_cells(spec, records, original):
    for place, column in enumerate(spec.measured):
        if column.part:  # of a date: the words for it are tested with the table
            continue
        given = (
            records[spec.columns[0]][:, int(column.name)] if spec.array else records[column.name]
        )
        for shown, value in zip(original[:, place], given, strict=True):
            if value != value:
                assert shown is None
            elif column.categories:
                assert shown == str(value)
            else:
                assert shown == pytest.approx(value, rel=1e-5, abs=1e-5)


def shapes(rows):
    """Shape of every sample's values, which may differ."""
    return [np.shape(row) for row in rows]


@everywhere
@every_reconstructing
def test_reconstructions_come_in_the_form_of_the_original(name, method):
    spec, batch = read(name)
    model = build(spec, method).eval()
    tokenizer = model.backbone.tokenizer
    found = model.reconstruct(batch, rng())
    original = tokenizer.original(batch)
    assert found.hidden.shape == (NUM, spec.num_tokens)
    assert (found.after is not None) == (method == "metamae")
    for predicted in (found.before, found.after):
        if predicted is not None:
            assert not predicted.requires_grad
            decoded = tokenizer.decode(predicted, batch)
            assert shapes(decoded) == shapes(original)
            assert decoded.dtype == original.dtype
    marks = tokenizer.spread(found.hidden, batch)
    if spec.kind == "mixture":
        for row, values in zip(marks, original, strict=True):
            assert row.keys() == values.keys() == {field for field, _ in spec.parts}
            assert all((row[key] is None) == (values[key] is None) for key in row)
        return
    texts = spec.kind == "symbols" and isinstance(original[0], str)
    assert shapes(marks) == ([(spec.num_tokens,)] * NUM if texts else shapes(original))
    assert all(row.dtype == bool for row in marks)
    assert any(row.any() for row in marks)
    assert not all(row.all() for row in marks)
    nothing, everything = torch.zeros_like(found.hidden), torch.ones_like(found.hidden)
    assert not any(row.any() for row in tokenizer.spread(nothing, batch))
    assert all(row.all() for row in tokenizer.spread(everything, batch))


@pytest.mark.parametrize("kind", MODALITIES.entries)
def test_every_modality_refuses_settings_that_it_does_not_know(kind):
    # `modality_settings` is what the command line offers; infer must take exactly these.
    records = MODALITIES.get(kind).example(NUM, np.random.default_rng(0))
    settings = modality_settings(kind)
    if kind == "mixture":  # the one modality with a setting that has no default
        settings["parts"] = parts_of(records)
    MODALITIES.get(kind).infer(records, np.random.default_rng(0), **settings)
    with pytest.raises(TypeError, match="nonsense"):
        MODALITIES.get(kind).infer(records, np.random.default_rng(0), nonsense=1)
