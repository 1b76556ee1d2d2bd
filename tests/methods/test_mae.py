"""Masked auto-encoding against its definition."""

import pytest
import torch

from cases import build, read, rng


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
