"""Shuffled embedding detection against loops and by its definition."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cases import build, read, rng
from metamae.methods.base import is_there
from metamae.methods.shed import cycle, with_company


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=3, max_size=12), st.data())
def test_a_cycle_is_one_ring_of_the_chosen_of_each_field(marks, data):
    chosen, fields = (torch.tensor(one) for one in zip(*marks, strict=True))
    scores = torch.rand(1, len(marks), generator=rng(data.draw(st.integers(0, 1000))))
    source = cycle(chosen[None], scores, fields)[0]
    assert all(source[n] == n for n in range(len(marks)) if not chosen[n])
    for field in range(3):
        ring = [n for n, (mark, own) in enumerate(marks) if mark and own == field]
        seen, at = [], ring[0] if ring else None
        while at is not None and at not in seen:
            seen.append(at)
            at = int(source[at])
        assert sorted(seen) == ring


@pytest.mark.parametrize("name", ["images", "codes of unequal length", "example of mixture"])
def test_contents_move_within_their_field_and_places_stay(name):
    spec, batch = read(name)
    model = build(spec, "shed")
    tokens = model.backbone.tokenizer.embed(batch)
    chosen = model.masking(tokens, rng()).hidden
    source = model.sources(tokens, chosen, model.arrange(tokens, rng(1)))
    there = is_there(tokens)
    assert torch.equal(source.sort(dim=1).values, torch.arange(there.shape[1]).expand_as(source))
    moved = source != torch.arange(there.shape[1])
    assert not (moved & ~there).any() and moved.any()
    if tokens.fields is not None:
        assert torch.equal(tokens.fields[source], tokens.fields.expand_as(source))


def test_one_chosen_alone_gets_company():
    chosen = torch.tensor([[True, False, False, False], [True, False, True, False]])
    there = torch.tensor([[True, True, True, False], [True, True, True, True]])
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.8], [0.9, 0.1, 0.5, 0.8]])
    found = with_company(chosen, there, scores, torch.zeros(4, dtype=torch.long))
    assert found.tolist() == [[True, False, True, False], [True, False, True, False]]
    # In two fields there is one chosen in each, and the second row's third has nobody but the last.
    found = with_company(chosen, there, scores, torch.tensor([0, 0, 1, 1]))
    assert found.tolist() == [[True, True, False, False], [True, True, True, True]]
    alone = torch.tensor([[True, False]])
    found = with_company(alone, alone, torch.rand(1, 2), torch.zeros(2, dtype=torch.long))
    assert found.tolist() == [[True, False]]


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize("name", ["codes", "codes of unequal length"])
def test_loss_against_a_loop(name, faithful):
    spec, batch = read(name)
    model = build(spec, "shed", faithful=faithful)
    same = rng()
    tokens = model.backbone.tokenizer.embed(batch)
    chosen = model.masking(tokens, same).hidden
    source = model.sources(tokens, chosen, model.arrange(tokens, same))
    moved = torch.stack([row[at] for row, at in zip(tokens.values, source, strict=True)])
    given_ = type(tokens)(moved, tokens.neighbours, tokens.padding, places=tokens.places)
    share = model.head(model.backbone.encode(given_)[:, 1:])[..., 0].sigmoid()
    losses = {True: [], False: []}
    for row in range(len(moved)):
        for place in range(moved.shape[1]):
            if tokens.padding is not None and tokens.padding[row, place]:
                continue
            different = not torch.equal(moved[row, place], tokens.values[row, place])
            mark = bool(chosen[row, place]) if faithful else different
            found = share[row, place] if mark else 1 - share[row, place]
            losses[mark].append(-found.log())
    if faithful:
        expected = torch.stack(losses[True] + losses[False]).mean()
    else:
        expected = (torch.stack(losses[True]).mean() + torch.stack(losses[False]).mean()) / 2
    torch.testing.assert_close(model(batch, rng()).loss, expected)


def test_equal_contents_that_change_places_are_not_called_shuffled():
    spec, batch = read("codes")
    same = {key: value.clone() for key, value in batch.items()}
    same["codes"] = torch.zeros_like(same["codes"])
    model = build(spec, "shed").eval()
    # All contents are equal, so that nothing is shuffled: the loss is that of calling it so.
    latent = model.backbone.encode(model.backbone.tokenizer.embed(same))
    logits = model.head(latent[:, 1:])[..., 0]
    expected = torch.nn.functional.softplus(logits).mean() / 2
    torch.testing.assert_close(model(same, rng()).loss, expected)
    published = build(spec, "shed", faithful=True).eval()
    published.load_state_dict(model.state_dict())
    assert published(same, rng()).loss != expected


def test_a_batch_may_hold_late_fields_only():
    # Numbers of fields count those that a batch lacks; there may be fewer tokens than that.
    spec, batch = read("codes")
    model = build(spec, "shed")
    tokens = model.backbone.tokenizer.embed(batch)
    N = tokens.values.shape[1]
    late = replace(tokens, fields=torch.full((N,), N + 3))
    chosen, scores = model.masking(tokens, rng()).hidden, model.arrange(tokens, rng(1))
    alone = model.sources(replace(tokens, fields=None), chosen, scores)
    assert torch.equal(model.sources(late, chosen, scores), alone)
