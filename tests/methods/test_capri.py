"""Contrastive prediction of embeddings against loops."""

import pytest
import torch

from cases import build, read, rng
from metamae.methods import capri
from metamae.methods.base import blanked, is_there


def state(name, **settings):
    """Return the model, its tokens, what is hidden, and guesses and contents as it compares."""
    spec, batch = read(name)
    model = build(spec, "capri", **settings)
    tokens = model.backbone.tokenizer.embed(batch)
    hidden = model.masking(tokens, rng()).hidden
    latent = model.backbone.encode(blanked(tokens, hidden, torch.zeros(())))
    return model, batch, tokens, hidden, model.head(latent[:, 1:]), tokens.values


def alike(a, b):
    return torch.cosine_similarity(a, b, dim=0) > capri.ALIKE


def cosines(a, b):
    return torch.cosine_similarity(a, b, dim=0)


@pytest.mark.parametrize("name", ["images", "codes of unequal length", "example of mixture"])
def test_answers_of_the_same_sample_against_a_loop(name):
    model, batch, tokens, hidden, guesses, contents = state(name)
    there, losses = is_there(tokens), []
    for row in range(len(hidden)):
        for place in torch.nonzero(hidden[row])[:, 0].tolist():
            wrong = [
                n
                for n in torch.nonzero(there[row])[:, 0].tolist()
                if n != place
                and not alike(contents[row, n], contents[row, place])
                and (tokens.fields is None or tokens.fields[n] == tokens.fields[place])
            ]
            likeness = torch.stack(
                [cosines(guesses[row, place], contents[row, n]) for n in [place, *wrong]]
            )
            losses.append(-(likeness / 0.07).log_softmax(dim=0)[0])
    torch.testing.assert_close(
        model(batch, rng()).loss, torch.stack(losses).mean(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["codes", "codes of unequal length"])
def test_the_published_form_against_a_loop(name):
    model, batch, tokens, _, guesses, contents = state(name, faithful=True)
    there, losses = is_there(tokens), []
    for row in range(len(guesses)):
        places = torch.nonzero(there[row])[:, 0].tolist()
        for number, place in enumerate(places):
            products = torch.stack([guesses[row, place] @ contents[row, n] for n in places])
            losses.append(-(products / 0.07).log_softmax(dim=0)[number])
    torch.testing.assert_close(
        model(batch, rng()).loss, torch.stack(losses).mean(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["images", "codes of unequal length"])
def test_answers_of_the_whole_batch_against_a_loop(name):
    model, batch, _, hidden, guesses, contents = state(name, negatives="batch")
    asked = [(row, place) for row, place in torch.nonzero(hidden).tolist()]
    losses = []
    for at in asked:
        wrong = [n for n in asked if n != at and not alike(contents[n], contents[at])]
        likeness = torch.stack([cosines(guesses[at], contents[n]) for n in [at, *wrong]])
        losses.append(-(likeness / 0.07).log_softmax(dim=0)[0])
    torch.testing.assert_close(
        model(batch, rng()).loss, torch.stack(losses).mean(), rtol=1e-4, atol=1e-4
    )


def test_very_many_hidden_tokens_are_thinned_out(monkeypatch):
    model, batch, *_ = state("images", negatives="batch")
    whole = model(batch, rng()).loss
    monkeypatch.setattr(capri, "MOST", 5)
    few = model(batch, rng()).loss
    assert few.isfinite() and few < whole  # among five there is less to confuse


@pytest.mark.parametrize(("faithful", "moved"), [(False, False), (True, True)])
def test_what_is_to_be_found_is_moved_only_in_the_published_form(faithful, moved):
    model, _, tokens, hidden, _, contents = state("images", faithful=faithful)
    values = contents.detach().requires_grad_()
    given = type(tokens)(values, tokens.neighbours, tokens.padding, places=tokens.places)
    model.backbone.tokenizer.embed = lambda batch: given
    # Where everything is hidden, the encoder sees no content: what is left is the answers' own.
    model.masking = lambda tokens, rng: type("Mask", (), {"hidden": torch.ones_like(hidden)})()
    model({}, rng()).loss.backward()
    assert (values.grad is not None and bool(values.grad.any())) == moved
