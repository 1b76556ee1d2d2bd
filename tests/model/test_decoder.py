from dataclasses import replace

import pytest
import torch

from cases import CASES, NETWORK, build, read, rng
from metamae.masking.base import keep_best
from metamae.methods.base import draw_query
from metamae.modalities.grid.grid import Grid
from metamae.model.decoder import DECODERS, CrossDecoder, JointDecoder
from metamae.model.tokens import Mask
from metamae.model.transformer import Transformer

SPEC = Grid(column="X", layout="none", channels=1, size=(10,), cell=(2,), mean=(0.0,), std=(1.0,))
KEPT = torch.tensor([[1, 3], [0, 4]])
BATCH = {"cells": torch.zeros(2, 5, 2)}
MASK = Mask(torch.ones(2, 5, dtype=torch.bool).scatter(1, KEPT, False), KEPT)


both = pytest.mark.parametrize("kind", DECODERS.values())


def decoder(kind=JointDecoder, depth=1):
    tokenizer = SPEC.tokenizer(8)
    return kind(tokenizer, Transformer(4, depth, 2), width=4), tokenizer


def test_latents_stand_at_their_places_and_blanks_elsewhere():
    ours, _ = decoder()
    latent = torch.randn(2, 3, 8, generator=rng())
    states = ours.narrow(latent)
    for row, kept in enumerate(KEPT.tolist()):
        full = [states[row, 0]]
        for n in range(5):
            token = states[row, 1 + kept.index(n)] if n in kept else ours.blank
            full.append(token + ours.place(BATCH)[n])
        expected = ours.head(ours.mixer(torch.stack(full)[None]))[0, 1:]
        torch.testing.assert_close(ours(latent, MASK, None, BATCH)[row], expected)


def test_a_place_asks_the_visible_latents_and_nothing_else():
    ours, _ = decoder(CrossDecoder)
    latent = torch.randn(2, 3, 8, generator=rng())
    memory, places = ours.narrow(latent), ours.place(BATCH)
    for row, kept in enumerate(KEPT):
        seen = torch.cat([memory[row, :1], memory[row, 1:] + places[kept]])[None]
        for n in range(5):
            asked = (ours.blank + places[n])[None, None]
            expected = ours.head(ours.mixer(asked, memory=seen))[0, 0]
            torch.testing.assert_close(ours(latent, MASK, None, BATCH)[row, n], expected)


@both
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("twice", [False, True])
def test_some_predictions_are_those_of_all(kind, depth, twice):
    ours, _ = decoder(kind, depth)
    latent = torch.randn(2, 3, 8, generator=rng())
    whole = ours(latent, MASK, None, BATCH)
    at = torch.tensor([[4, 0, -1], [2, -1, -1]])
    some = ours(latent, MASK, None, BATCH, at=at, twice=twice)
    assert some.shape == whole.shape
    for row, n in ((0, 4), (0, 0), (1, 2)):
        torch.testing.assert_close(some[row, n], whole[row, n])


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("name", CASES)
def test_errors_of_some_are_those_of_all(kind, name):
    spec, batch = read(name)
    model = build(spec, network=replace(NETWORK, decoder=kind))
    tokens = model.backbone.tokenizer.embed(batch)
    mask = model.masking(tokens, rng())
    latent = model.backbone.encode(tokens, mask)
    query = draw_query(mask, 0.5, rng())
    given = latent, mask, tokens.padding, batch
    whole, some = (model.decoder.errors(*given, at=at) for at in (None, query.at))
    torch.testing.assert_close(some[query.asked], whole[query.asked])
    guess = model.backbone.tokenizer.baseline(batch)
    torch.testing.assert_close(model.decoder.baseline(batch, mask), guess)
    some = model.decoder.baseline(batch, mask, query.at)
    torch.testing.assert_close(some[query.asked], guess[query.asked])
    assert some.shape == guess.shape


@both
def test_empty_slots_and_padding_change_nothing(kind):
    ours, _ = decoder(kind)
    padding = torch.tensor([[False, False, True, True, True], [False] * 5])
    mask = keep_best(torch.rand(2, 5, generator=rng()), padding, 0.4)
    assert mask.kept[0].tolist()[1:] == [-1, -1]
    latent = torch.randn(2, 4, 8, generator=rng())
    predicted = ours(latent, mask, padding, BATCH)
    other = latent.clone()
    other[0, 2:] = 5.0
    torch.testing.assert_close(ours(other, mask, padding, BATCH), predicted)


def test_the_tokenizer_is_not_the_decoders():
    ours, tokenizer = decoder()
    own = {id(value) for value in ours.parameters()}
    assert not own & {id(value) for value in tokenizer.parameters()}
    assert not any("tokenizer" in key for key in ours.state_dict())
    # Tied weights follow the backbone's, wherever the whole method is moved.
    spec, batch = read("codes")
    model = build(spec).double()
    assert model(batch, rng()).loss.dtype == torch.float64


def test_errors_are_those_of_the_tokenizer_in_float32():
    ours, tokenizer = decoder()
    batch = {"cells": torch.randn(2, 5, 2, generator=rng())}
    latent = torch.randn(2, 3, 8, generator=rng())
    predicted = ours(latent, MASK, None, BATCH)
    errors = ours.errors(latent, MASK, None, batch)
    torch.testing.assert_close(errors, tokenizer.error(predicted, batch))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = ours.errors(latent, MASK, None, batch)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, errors, rtol=0.05, atol=0.05)


@both
def test_both_passes_see_the_same_function(kind):
    ours, _ = decoder(kind)
    latent = torch.randn(2, 3, 8, generator=rng())
    ours.train()
    torch.testing.assert_close(
        ours(latent, MASK, None, BATCH), ours(latent, MASK, None, BATCH, twice=True)
    )
