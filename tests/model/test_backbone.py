import pytest
import torch

from cases import rng
from metamae.masking.base import keep_best
from metamae.modalities.grid.grid import Grid
from metamae.model.backbone import Backbone, pool
from metamae.model.tokens import Mask, Tokens
from metamae.model.transformer import Transformer

SPEC = Grid(column="X", layout="none", channels=1, size=(12,), cell=(2,), mean=(0.0,), std=(1.0,))


def backbone(**settings):
    return Backbone(SPEC.tokenizer(8), Transformer(8, 1, 2, **settings))


def tokens(num=3, padding=None):
    return Tokens(torch.randn(num, 6, 8, generator=rng()), None, padding)


def test_only_visible_tokens_are_encoded():
    part, some = backbone(), tokens()
    kept = torch.tensor([[0, 3], [1, 5], [2, 4]])
    hidden = torch.ones(3, 6, dtype=torch.bool).scatter(1, kept, False)
    encoded = part.encode(some, Mask(hidden, kept))
    for row, at in enumerate(kept):
        by_hand = torch.cat([part.cls[None], some.values[row, at]])[None]
        torch.testing.assert_close(encoded[row], part.encoder(by_hand)[0])


def test_empty_slots_change_nothing():
    part = backbone()
    padding = torch.zeros(3, 6, dtype=torch.bool)
    padding[0, 2:] = True
    some = tokens(padding=padding)
    mask = keep_best(torch.rand(3, 6, generator=rng()), padding, 0.3)
    encoded = part.encode(some, mask)
    assert mask.kept[0].tolist()[1:] == [-1] * 3
    alone = Mask(mask.hidden[:1], mask.kept[:1, :1])
    torch.testing.assert_close(encoded[0, :2], part.encode(Tokens(some.values[:1]), alone)[0])


def test_dropout_needs_a_generator():
    part, some = backbone(dropout=0.5), tokens()
    assert torch.equal(part.encode(some), part.encode(some))
    assert not torch.allclose(part.encode(some, rng=rng()), part.encode(some))


def test_pooling_leaves_padding_out():
    latent = torch.arange(12.0).view(2, 3, 2)
    assert pool(latent, None).tolist() == [[2, 3], [8, 9]]
    padding = torch.tensor([[False, False, True], [False, False, False]])
    assert pool(latent, padding).tolist() == [[1, 2], [8, 9]]
    assert pool(latent, torch.ones(2, 3, dtype=torch.bool)).tolist() == [[0, 0], [0, 0]]
    assert pool(latent.bfloat16(), padding).dtype == torch.bfloat16


@pytest.mark.parametrize("multiple", [1, 2, 3, 4, 5, 6, 8])
def test_rounding_the_length_up_changes_nothing(multiple):
    part = backbone()
    batch = {"cells": torch.randn(3, 6, 2, generator=rng())}
    latent, padding = part.token_features(batch, multiple)
    assert latent.shape[1] % multiple == 0
    assert latent.shape[1] < 6 + multiple
    if padding is not None:
        assert padding.tolist() == [[n >= 6 for n in range(latent.shape[1])]] * 3
    expected = part.encode(part.tokenizer.embed(batch))[:, 1:]  # without the summary
    torch.testing.assert_close(latent[:, :6], expected)
    torch.testing.assert_close(part.features(batch, multiple), part.features(batch))
    torch.testing.assert_close(part.features(batch), latent[:, :6].mean(dim=1))
