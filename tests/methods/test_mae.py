"""Masked auto-encoding against its definition."""

import pytest
import torch

from cases import build, read, rng
from metamae.errors import ConfigError
from metamae.methods.base import draw_query


@pytest.mark.parametrize("name", ["images", "series with gaps", "example of symbols", "numbers"])
def test_loss_is_the_mean_error_of_all_hidden_tokens(name):
    spec, batch = read(name)
    model = build(spec, "mae")
    step = model(batch, rng())
    tokens = model.backbone.tokenizer.embed(batch)
    mask = model.masking(tokens, rng())
    predicted = model.decoder(model.backbone.encode(tokens, mask), mask, tokens.padding, batch)
    errors = model.backbone.tokenizer.error(predicted, batch)
    guess = model.backbone.tokenizer.baseline(batch)
    hidden = [(b, n) for b, row in enumerate(mask.hidden) for n in range(len(row)) if row[n]]
    mean = sum(errors[at] for at in hidden) / len(hidden)
    torch.testing.assert_close(step.loss, mean)
    torch.testing.assert_close(step.logs["reconstruction"], mean.detach())
    r2 = 1 - mean / (sum(guess[at] for at in hidden) / len(hidden))
    torch.testing.assert_close(step.logs["r2"], r2.detach())


@pytest.mark.parametrize("method", ["mae", "metamae"])
@pytest.mark.parametrize("name", ["images", "series with gaps", "numbers"])
def test_a_step_asks_for_a_share_of_the_hidden_tokens(name, method):
    spec, batch = read(name)
    model = build(spec, method, query_share=0.5)
    model.before_update(0.0)
    step = model(batch, source := rng())
    tokens = model.backbone.tokenizer.embed(batch)
    mask = model.masking(tokens, again := rng())
    asked = draw_query(mask, 0.5, again).asked
    assert torch.equal(source.get_state(), again.get_state())
    errors = model.decoder.errors(model.backbone.encode(tokens, mask), mask, tokens.padding, batch)
    torch.testing.assert_close(step.loss, errors[asked].mean())
    guess = model.backbone.tokenizer.baseline(batch)[asked].mean()
    torch.testing.assert_close(step.logs["r2"], 1 - step.loss.detach() / guess)
    assert asked.sum() < mask.hidden.sum()
    # Where nothing is learnt, all are asked for.
    whole = build(spec, method)
    whole.before_update(0.0)
    torch.testing.assert_close(model.eval()(batch, rng()).loss, whole.eval()(batch, rng()).loss)


@pytest.mark.parametrize("method", ["mae", "metamae"])
def test_a_query_is_no_more_than_all(method):
    spec, _ = read("images")
    with pytest.raises(ConfigError, match=r"query_share must be a number between 0 and 1; got 2"):
        build(spec, method, query_share=2)


def test_visible_tokens_are_no_target():
    spec, batch = read("images")
    model = build(spec, "mae")
    tokens = model.backbone.tokenizer.embed(batch)
    mask = model.masking(tokens, rng())
    hidden_changed = {"cells": batch["cells"] + 3.0 * mask.hidden[..., None]}
    visible_changed = {"cells": batch["cells"] + 3.0 * ~mask.hidden[..., None]}
    latent = model.backbone.encode(tokens, mask)
    # The encoder sees nothing of what is hidden.
    same = model.backbone.encode(model.backbone.tokenizer.embed(hidden_changed), mask)
    assert torch.equal(latent, same)
    other = model.backbone.encode(model.backbone.tokenizer.embed(visible_changed), mask)
    assert not torch.allclose(latent, other)
    errors = model.decoder.errors(latent, mask, None, batch)
    moved = model.decoder.errors(latent, mask, None, visible_changed)
    assert torch.equal(errors[mask.hidden], moved[mask.hidden])


def test_reconstruction_is_the_prediction_that_training_scores():
    spec, batch = read("images")
    model = build(spec, "mae").eval()
    found = model.reconstruct(batch, rng())
    assert found.after is None
    errors = model.backbone.tokenizer.error(found.before, batch)
    torch.testing.assert_close(errors[found.hidden].mean(), model(batch, rng()).loss.detach())


def test_a_step_of_gradient_descent_helps():
    spec, batch = read("series")
    model = build(spec, "mae")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = model(batch, rng()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
