"""What every registered detector must do, on every modality."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from cases import CASES, build, case
from metamae.encoder.masked_prediction import predict_hidden
from metamae.errors import ConfigError
from metamae.uses.detect.detectors import DETECTORS
from metamae.uses.detect.detectors.base import Described, Detector, describe_tokens, strongest
from metamae.uses.detect.detectors.flow import Couplings
from metamae.uses.detect.detectors.memory import coreset

every = pytest.mark.parametrize("name", DETECTORS.entries)
QUICK = {"flow": {"steps": 3, "couplings": 2}, "reconstruction": {"draws": 1}}


def run_of(spec, method="metamae"):
    """What a detector needs of a run."""
    return SimpleNamespace(module=build(spec, method), schema=SimpleNamespace(modality=spec))


def make(name, **settings):
    detector = DETECTORS.build(name, **{**QUICK.get(name, {}), **settings})
    assert isinstance(detector, Detector)
    assert detector.name == name
    return detector


def described(tokens, num_tokens, places=True):
    """Samples of `num_tokens` tokens each, from rows (T, D)."""
    rows = tokens.astype(np.float32)
    at = np.tile(np.arange(num_tokens), len(rows) // num_tokens)
    starts = np.arange(0, len(rows) + 1, num_tokens)
    return Described(rows, rows, at if places else np.zeros_like(at), starts, at)


@pytest.mark.parametrize("data", CASES)
def test_all_samples_and_tokens_are_scored_on_every_modality(data):
    spec, records = case(data)
    run, third = run_of(spec), records.subset(np.array([3]))
    shared = describe_tokens(run, records), describe_tokens(run, third)
    for name in DETECTORS.entries:
        detector = make(name)
        detector.check(run)
        normal, alone = shared
        if type(detector).describe is not Detector.describe:
            normal, alone = (detector.describe(run, some, 0) for some in (records, third))
        detector.fit(normal, 0)
        found, single = detector.score(normal), detector.score(alone)
        assert next(iter(found)).startswith(name)
        for variant, scores in found.items():
            assert scores.samples.shape == (len(records),)
            assert scores.tokens.shape == (len(normal.features),)
            assert np.isfinite(scores.samples).all()
            assert np.isfinite(scores.tokens).all()
            # A sample's scores do not depend on those beside it.
            expected = scores.samples[3]
            assert single[variant].samples[0] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@every
def test_a_seed_decides_everything_and_no_global_generator_moves(name):
    spec, records = case("images")
    run = run_of(spec)
    state = torch.get_rng_state()
    found = []
    for _ in range(2):
        detector = make(name)
        normal = detector.describe(run, records, 1)
        detector.fit(normal, 1)
        found.append(detector.score(normal))
    for variant in found[0]:
        np.testing.assert_array_equal(found[0][variant].tokens, found[1][variant].tokens)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", [n for n in DETECTORS.entries if n != "reconstruction"])
@pytest.mark.parametrize("places", [True, False])
def test_a_strange_token_is_found_where_it_is(name, places):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6))
    centres = rng.normal(size=(4, 6)) * 3 if places else np.zeros((4, 6))

    def draw(num):
        return (rng.normal(size=(num, 4, 6)) @ mixing + centres).reshape(-1, 6)

    detector = make(name, **({"steps": 120} if name == "flow" else {}))
    detector.fit(described(draw(400), 4, places), 0)
    rows = draw(40)
    odd = np.arange(0, 20)  # the first samples have a strange third token
    rows[odd * 4 + 2] += 8 * mixing[0]
    found = detector.score(described(rows, 4, places))[name]
    assert found.samples[:20].min() > np.quantile(found.samples[20:], 0.9)
    strangest = found.tokens.reshape(40, 4)[:20].argmax(axis=1)
    assert (strangest == 2).mean() > 0.9


@pytest.mark.parametrize("name", [n for n in DETECTORS.entries if n != "reconstruction"])
def test_a_place_that_was_never_seen_has_a_score(name):
    rng = np.random.default_rng(0)
    detector = make(name)
    detector.fit(described(rng.normal(size=(80, 4)), 4), 0)
    found = detector.score(described(rng.normal(size=(10, 4)), 5))[name]
    assert np.isfinite(found.tokens).all()


def test_mahalanobis_is_the_distance_in_the_shrunk_covariance():
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    detector = make("mahalanobis")
    normal = described(rows, 1, places=False)
    detector.fit(normal, 0)
    found = detector.score(normal)["mahalanobis"]
    expected = LedoitWolf().fit(rows.astype(np.float32).astype(np.float64)).mahalanobis(rows) / 5
    np.testing.assert_allclose(found.samples, 2 * expected, rtol=1e-3)
    np.testing.assert_allclose(found.tokens, expected, rtol=1e-3)


def test_the_memory_is_bounded_and_knows_what_is_in_it():
    rng = np.random.default_rng(0)
    normal = described(rng.normal(size=(600, 5)), 3)
    for selection in ("random", "coreset"):
        detector = make("memory", size=50, selection=selection)
        detector.fit(normal, 0)
        assert all(len(bank) <= 50 for _, bank in detector.banks)
    whole = make("memory", size=600, distance="cosine")
    whole.fit(normal, 0)
    assert whole.score(normal)["memory"].tokens.max() < 1e-5


def test_a_coreset_leaves_nothing_far_away():
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(500, 3)).astype(np.float32)
    crowd[:5] += 100 * np.eye(5, 3, dtype=np.float32) * np.arange(1, 6)[:, None]
    chosen = coreset(crowd, 12, rng)
    assert len(set(chosen.tolist())) == 12
    assert {0, 1, 2} <= set(chosen.tolist())


def test_the_volume_of_the_flow_is_that_of_its_jacobian():
    with torch.random.fork_rng():
        flow = Couplings(5, 3, 2).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    x = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    at = torch.zeros(1, dtype=torch.long)
    _, volume = flow(x, at)
    full = jacobian(lambda v: flow(v[None], at)[0][0], x[0])
    torch.testing.assert_close(volume[0], torch.linalg.slogdet(full).logabsdet)


def test_the_base_is_learnt_and_helps():
    """Tokens whose spread no coupling can change: only a base of another variance fits them."""
    rng = np.random.default_rng(0)
    rows = rng.standard_t(3, size=(4000, 4))
    detector = make("flow", steps=200)
    detector.fit(described(rows, 4), 0)
    assert detector.flow.log_variance.abs().max() > 0.05
    learnt = detector.score(described(rows, 4))["flow"].tokens.mean()
    with torch.no_grad():
        detector.flow.log_variance.zero_()
        detector.flow.centre.zero_()
    assert learnt < detector.score(described(rows, 4))["flow"].tokens.mean()


def test_the_base_alone_moves_in_its_turn():
    rng = np.random.default_rng(0)
    tokens = described(rng.normal(size=(200, 4)), 4)
    flows = []
    for steps in (4, 5):
        # The rate follows the number of steps, so that only one kind of step may be looked at.
        detector = make("flow", steps=steps, alternate=5, lr=1e-9)
        detector.fit(tokens, 0)
        flows.append(detector.flow)
    assert flows[0].log_variance.abs().max() < 1e-6
    assert flows[1].log_variance.abs().max() > 1e-4
    weights = (flow.maps[0][0].weight for flow in flows)
    torch.testing.assert_close(*weights, atol=1e-6, rtol=0)


def test_reconstruction_needs_a_decoder_and_gives_both_sides_of_the_step():
    spec, records = case("series")
    detector = make("reconstruction")
    with pytest.raises(ConfigError, match="must have a decoder"):
        detector.check(run_of(spec, "shed"))
    for method in ("mae", "metamae", "masked_embedding"):
        run = run_of(spec, method)
        found = detector.describe(run, records, 0)
        same = np.allclose(found.features[:, 0], found.features[:, 1])
        assert same == (method != "metamae")


def test_reconstruction_error_is_of_hidden_tokens_only():
    """Of visible ones it would be another."""
    spec, records = case("numbers")
    run = run_of(spec, "mae")
    found = make("reconstruction", draws=3).describe(run, records, 0)
    tokenizer, batch = run.module.backbone.tokenizer, spec.batch(records, np.arange(len(records)))
    with torch.no_grad():
        nothing = torch.zeros(len(records), 5, dtype=torch.bool)
        visible = tokenizer.error(predict_hidden(run.module, batch, nothing).before, batch)
    assert not np.allclose(found.features[:, 0].reshape(-1, 5), visible.numpy(), rtol=1e-3)


def test_sample_scores_are_means_of_the_strongest_tokens():
    values, starts = np.array([1.0, 5, 3, 2, 9, 4]), np.array([0, 4, 4, 6])
    assert strongest(values, starts, 0.01).tolist() == [5.0, 0.0, 9.0]
    assert strongest(values, starts, 0.5).tolist() == [4.0, 0.0, 9.0]
    assert strongest(values, starts, 1.0).tolist() == [2.75, 0.0, 6.5]


def test_missing_tokens_leave_gaps_in_the_positions():
    spec, records = case("series with gaps")
    found = describe_tokens(run_of(spec), records)
    first = found.positions[: found.starts[1]]
    assert 1 not in first.tolist()
    assert len(first) == spec.num_tokens - 1
