"""The pieces that methods share, against loops."""

import math

import pytest
import torch

from cases import build, read, rng
from metamae.errors import ConfigError
from metamae.masking.base import keep_best
from metamae.methods.base import (
    Method,
    draw_query,
    explained,
    mean_where,
    nt_xent,
    positions,
)


def slow_nt_xent(a, b, temperature):
    """For each row: minus the log of its partner's share among all other rows."""
    rows, B = [*a, *b], len(a)
    total = 0.0
    for i, row in enumerate(rows):
        alike = {
            j: math.exp(torch.cosine_similarity(row, other, dim=0) / temperature)
            for j, other in enumerate(rows)
            if j != i
        }
        total -= math.log(alike[(i + B) % (2 * B)] / sum(alike.values()))
    return total / (2 * B)


@pytest.mark.parametrize("B", [2, 3, 7])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_against_a_loop(B, temperature):
    a, b = torch.randn(2, B, 5, generator=rng(), dtype=torch.float64)
    loss = nt_xent(a, b, temperature)
    assert loss.item() == pytest.approx(slow_nt_xent(a, b, temperature))
    assert loss.item() == pytest.approx(nt_xent(b, a, temperature).item())
    assert loss.item() == pytest.approx(nt_xent(3 * a, 0.1 * b, temperature).item())


def test_nt_xent_is_least_when_partners_agree_and_the_others_do_not():
    a = torch.eye(4)
    assert nt_xent(a, a, 0.05) < 1e-6
    assert nt_xent(a, a.roll(1, 0), 0.05) > 10
    same = torch.ones(4, 3)
    assert nt_xent(same, same, 0.5).item() == pytest.approx(math.log(7))


def test_nt_xent_has_a_gradient_and_stands_half_precision():
    a = torch.randn(4, 5, generator=rng()).bfloat16().requires_grad_()
    loss = nt_xent(a, a.detach().flip(0), 0.5)
    assert loss.dtype == torch.float32
    loss.backward()
    assert a.grad.isfinite().all()
    assert nt_xent(torch.zeros(2, 3), torch.zeros(2, 3), 0.5).isfinite()


def test_mean_where():
    values = torch.tensor([[1.0, 2.0, 30.0], [4.0, 50.0, 60.0]])
    chosen = torch.tensor([[True, True, False], [True, False, False]])
    assert mean_where(values, chosen).item() == pytest.approx(7 / 3)
    assert mean_where(values, chosen, dim=1).tolist() == [1.5, 4.0]
    nothing = torch.zeros_like(chosen)
    assert mean_where(values, nothing) == 0
    assert mean_where(values, nothing, dim=1).tolist() == [0, 0]


def test_explained_share():
    mask = torch.tensor([[True, True, False]])
    guess = torch.tensor([[2.0, 4.0, 9.0]])
    assert explained(torch.zeros(1, 3), guess, mask) == 1
    assert explained(guess, guess, mask) == 0
    assert explained(guess / 4, guess, mask).item() == 0.75
    assert explained(2 * guess, guess, mask) == -1
    # What is visible has no say.
    assert explained(torch.tensor([[0.0, 0.0, 99.0]]), guess, mask) == 1


def test_a_method_without_a_decoder_cannot_reconstruct():
    class Bare(Method):
        def forward(self, batch, rng):
            raise AssertionError

    _, batch = read("series")
    rule = r"Method Bare must have a decoder to reconstruct; it has none\. .*metamae.* would do\."
    with pytest.raises(ConfigError, match=rule):
        Bare().reconstruct(batch, rng())
    assert Bare().after_update(0.5, torch.tensor(True)) is None


def test_positions_of_chosen_tokens():
    chosen = torch.tensor([[False, True, True, False], [False] * 4, [True] * 4])
    assert positions(chosen, 4).tolist() == [[1, 2, -1, -1], [-1] * 4, [0, 1, 2, 3]]
    assert positions(chosen[:2], 2).tolist() == [[1, 2], [-1, -1]]


@pytest.mark.parametrize("name", ["images", "example of symbols", "series with gaps"])
@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.9, 1])
def test_a_query_is_a_share_of_each_samples_hidden_tokens(name, share):
    spec, batch = read(name)
    for ratio in (0.1, 0.5, 0.9):
        model = build(spec, ratio=ratio)
        mask = model.masking(model.backbone.tokenizer.embed(batch), rng())
        query = draw_query(mask, share, rng())
        assert not (query.asked & ~mask.hidden).any()
        for at, asked, hidden in zip(query.at, query.asked, mask.hidden, strict=True):
            found = [n for n in at.tolist() if n >= 0]
            assert sorted(found) == asked.nonzero().flatten().tolist()
            assert at.tolist()[len(found) :] == [-1] * (len(at) - len(found))
            count = int(hidden.sum())
            assert len(found) == min(count, max(1, round(share * count)))


def test_a_whole_query_draws_nothing_and_others_draw_from_the_generator():
    mask = keep_best(torch.rand(4, 40, generator=rng()), None, 0.75)
    before = rng().get_state()
    draw_query(mask, 1, source := rng())
    assert torch.equal(source.get_state(), before)
    first, second = (draw_query(mask, 0.5, source).asked for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, draw_query(mask, 0.5, rng()).asked)


def test_every_hidden_token_is_asked_for_as_often():
    mask = keep_best(torch.rand(2, 8, generator=rng()), None, 0.75)
    source, draws = rng(), 2000
    often = sum(draw_query(mask, 0.5, source).asked.float() for _ in range(draws)) / draws
    # Three of six; a deviation of 5 standard errors would be one in a million.
    assert (often[mask.hidden] - 0.5).abs().max() < 5 * (0.25 / draws) ** 0.5
