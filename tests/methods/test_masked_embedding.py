"""Masked prediction in the whole sample against its definition."""

import pytest
import torch

from cases import build, read, rng
from metamae.methods.base import blanked


@pytest.mark.parametrize("name", ["images", "series with gaps", "example of symbols", "numbers"])
@pytest.mark.parametrize("faithful", [False, True])
def test_loss_is_the_mean_error_of_all_hidden_tokens(name, faithful):
    spec, batch = read(name)
    model = build(spec, "masked_embedding", faithful=faithful)
    tokenizer = model.backbone.tokenizer
    tokens = tokenizer.embed(batch)
    hidden = model.masking(tokens, rng()).hidden
    blank = torch.zeros(()) if faithful else model.blank
    latent = model.backbone.encode(blanked(tokens, hidden, blank))[:, 1:]
    predicted = model.head(latent.clamp(min=0) if faithful else latent)
    if faithful and "cells" in batch and spec.kind == "grid" and "valid" not in batch:
        errors = (predicted - batch["cells"]).norm(dim=2)
    else:
        errors = tokenizer.error(predicted, batch)
        if faithful and spec.kind == "grid":
            errors = (errors * spec.num_values).sqrt()
    expected = torch.stack([errors[at] for at in zip(*torch.nonzero(hidden).T, strict=True)])
    torch.testing.assert_close(model(batch, rng()).loss, expected.mean())


def test_what_is_hidden_is_not_seen():
    spec, batch = read("images")
    model = build(spec, "masked_embedding").eval()
    found = model.reconstruct(batch, rng())
    changed = {"cells": batch["cells"] + 3.0 * found.hidden[..., None]}
    assert torch.equal(model.reconstruct(changed, rng()).before, found.before)
    changed = {"cells": batch["cells"] + 3.0 * ~found.hidden[..., None]}
    assert not torch.allclose(model.reconstruct(changed, rng()).before, found.before)


def test_places_of_hidden_tokens_are_known():
    spec, batch = read("images")
    tokens = build(spec, "masked_embedding").backbone.tokenizer.embed(batch)
    hidden = torch.ones(tokens.values.shape[:2], dtype=torch.bool)
    shown = blanked(tokens, hidden, torch.zeros(()))
    assert torch.equal(shown.placed, tokens.places.expand_as(shown.values))
