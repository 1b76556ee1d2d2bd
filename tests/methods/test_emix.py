"""e-Mix against loops over samples, its published arithmetic included."""

import pytest
import torch

from cases import build, read, rng
from metamae.methods.emix import mix
from metamae.model.backbone import pool


def drawn(num):
    """The draws of a step in their order: shares of the first, and partners."""
    same = rng()
    share = torch.rand(num, generator=same)
    return share.maximum(1 - share), torch.randperm(num, generator=same)


def cross_entropies(model, mixed, tokens):
    """Loss of naming each sample for each mixture, (B, B), one pair at a time."""
    vectors = []
    for part in (mixed, tokens):
        latent = model.backbone.encode(part)
        if model.faithful:  # the summary token counts as a token
            padding = part.padding
            if padding is not None:
                padding = torch.nn.functional.pad(padding, (1, 0), value=False)
            pooled = pool(latent, padding)
        else:
            pooled = pool(latent[:, 1:], part.padding)
        out = model.head(pooled)
        vectors.append(out / out.norm(dim=1, keepdim=True))
    logits = vectors[0] @ vectors[1].T / model.temperature
    return -logits.log_softmax(dim=1)


@pytest.mark.parametrize("name", ["images", "codes of unequal length", "example of mixture"])
@pytest.mark.parametrize("faithful", [False, True])
def test_loss_against_a_loop(name, faithful):
    spec, batch = read(name)
    model = build(spec, "emix", faithful=faithful)
    tokens = model.backbone.tokenizer.embed(batch)
    share, partner = drawn(len(tokens.values))
    losses = cross_entropies(model, mix(tokens, partner, share), tokens)
    total = 0.0
    for row, other in enumerate(partner.tolist()):
        # The published code multiplies every sample by the shares of all of them.
        weight = share.mean() if faithful else share[row]
        total = total + weight * losses[row, row] + (1 - weight) * losses[row, other]
    torch.testing.assert_close(model(batch, rng()).loss, total / len(partner))


def test_a_mixture_against_a_loop():
    spec, batch = read("codes of unequal length")
    tokens = build(spec, "emix").backbone.tokenizer.embed(batch)
    share, partner = drawn(len(tokens.values))
    mixed = mix(tokens, partner, share)
    assert mixed.places is tokens.places and mixed.padding is tokens.padding
    for row, other in enumerate(partner.tolist()):
        for place in range(tokens.values.shape[1]):
            own, theirs = tokens.values[row, place], tokens.values[other, place]
            expected = share[row] * own + (1 - share[row]) * theirs
            if tokens.padding[other, place]:
                expected = own
            torch.testing.assert_close(mixed.values[row, place], expected)


def test_the_partner_learns_nothing_from_the_mixture():
    spec, batch = read("images")
    tokens = build(spec, "emix").backbone.tokenizer.embed(batch)
    values = tokens.values.detach().requires_grad_()
    given = type(tokens)(values, places=tokens.places)
    partner = torch.arange(len(values)).roll(1)
    mixed = mix(given, partner, torch.full((len(values),), 0.75))
    mixed.values[0].sum().backward()
    assert torch.equal(values.grad[0], torch.full_like(values[0], 0.75))
    assert not values.grad[1:].any()


def test_it_learns_to_tell_samples():
    spec, batch = read("images")
    model = build(spec, "emix")
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    draws, losses = rng(), []
    for _ in range(60):
        step = model(batch, draws)
        losses.append(step.loss.item())
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert step.logs["accuracy"] >= 0.5
