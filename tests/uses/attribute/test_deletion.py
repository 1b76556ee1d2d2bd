"""Which tokens count: against a probe whose tokens are known, and against loops."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cases import CASES, build, case, read
from metamae.encoder.pretrained import Pretrained
from metamae.run.config import Choices, resolve
from metamae.uses.attribute.deletion import SHARES, attribute, features_without


def pretrained(name):
    spec, _ = case(name)
    config = resolve(
        Choices(method="mae"), spec, num_samples=100, device="cpu", data={}, version="test"
    )

    model = build(spec, "mae").eval()

    return Pretrained(model, SimpleNamespace(modality=spec), config)


@pytest.mark.parametrize("name", CASES)
def test_leaving_nothing_out_is_the_embedding(name):
    run, (spec, batch) = pretrained(name), read(name)
    backbone = run.module.backbone
    tokens = backbone.tokenizer.embed(batch)
    nothing = np.zeros(tokens.values.shape[:2], dtype=bool)
    found = features_without(run, tokens, nothing)
    assert found.shape[1] == run.embedding_width
    if spec.token_regions is None:
        with torch.no_grad():
            expected = backbone.features(batch).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_token_left_out_is_as_if_it_were_padding():
    run, (_, batch) = pretrained("codes of unequal length"), read("codes of unequal length")
    backbone = run.module.backbone
    tokens = backbone.tokenizer.embed(batch)
    last = (~tokens.padding).sum(dim=1) - 1
    hidden = np.zeros(tokens.values.shape[:2], dtype=bool)
    hidden[np.arange(len(hidden)), last.numpy()] = True
    shorter = {key: value.clone() for key, value in batch.items()}
    shorter["valid"][torch.arange(len(hidden)), last] = False
    with torch.no_grad():
        expected = backbone.features(shorter).numpy()
    np.testing.assert_allclose(
        features_without(run, tokens, hidden), expected, rtol=1e-4, atol=1e-5
    )


def test_scores_are_what_the_answer_falls_by_and_curves_follow_them():
    run, (_, batch) = pretrained("numbers"), read("numbers")
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(run.embedding_width, 3))

    def answer(features):
        logits = np.exp(features @ weight)
        return logits / logits.sum(axis=1, keepdims=True)

    found = attribute(run, batch, answer)
    tokens = run.module.backbone.tokenizer.embed(batch)
    B, N = found.scores.shape
    whole = answer(features_without(run, tokens, np.zeros((B, N), dtype=bool)))
    given = whole.argmax(axis=1)
    for n in range(N):
        hidden = np.zeros((B, N), dtype=bool)
        hidden[:, n] = True
        without = answer(features_without(run, tokens, hidden))
        expected = whole[np.arange(B), given] - without[np.arange(B), given]
        np.testing.assert_allclose(found.scores[:, n], expected, atol=1e-6)
    assert found.deletion.shape == (B, len(SHARES))
    for curve in (found.deletion, found.insertion, found.random):
        np.testing.assert_allclose(curve[:, 0], whole[np.arange(B), given], atol=1e-6)
    # One of five tokens left out (share 0.2): the most or the least important one.
    fall = np.sort(found.scores, axis=1)
    at = SHARES.index(0.2)
    np.testing.assert_allclose(whole.max(axis=1) - found.deletion[:, at], fall[:, -1], atol=1e-6)
    np.testing.assert_allclose(whole.max(axis=1) - found.insertion[:, at], fall[:, 0], atol=1e-6)


def test_missing_tokens_have_no_score_and_the_last_one_stays():
    run, (_, batch) = pretrained("numbers in groups with gaps"), read("numbers in groups with gaps")
    tokens = run.module.backbone.tokenizer.embed(batch)
    found = attribute(run, batch, lambda features: np.abs(features[:, :2]).astype(float))
    assert tokens.padding.any()
    assert np.array_equal(np.isnan(found.scores), tokens.padding.numpy())
    assert np.isfinite(found.deletion).all()
