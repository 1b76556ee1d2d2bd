"""PsCo's assignment, tasks and queue against loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from cases import build, read, rng
from metamae.errors import ConfigError


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=rng(seed), dtype=torch.float64), dim=-1)


def make(**settings):
    spec, batch = read("images")
    return build(spec, "psco", **{"queue": 12, "shots": 2, **settings}), batch


def test_shots_come_from_an_assignment_that_uses_the_queue_evenly():
    model, _ = make()
    target, past = unit(3, 8), unit(12, 8, seed=1)
    shares = [[math.exp((t @ q).item() / 0.05) for q in past] for t in target]
    for _ in range(3):
        sums = [sum(row[m] for row in shares) for m in range(12)]
        shares = [[v / s for v, s in zip(row, sums, strict=True)] for row in shares]
        shares = [[v / sum(row) for v in row] for row in shares]
    found = model.shots_of(target, past)
    for row, chosen in zip(shares, found, strict=True):
        best = sorted(range(12), key=lambda m: -row[m])[:2]
        torch.testing.assert_close(chosen, past[best])


def test_the_task_is_to_find_ones_own_shots_among_those_of_all():
    model, _ = make(task_temperature=0.7)
    guess, shots = unit(3, 8), unit(3, 2, 8, seed=1)
    losses = []
    for b in range(3):
        every = [math.exp((guess[b] @ shots[j, k]).item() / 0.7) for j in range(3) for k in (0, 1)]
        own = sum((guess[b] @ shots[b, k]).item() for k in (0, 1)) / 2 / 0.7
        losses.append(math.log(sum(every)) - own)
    assert model.task_loss(guess, shots).item() == pytest.approx(sum(losses) / 3)


def test_the_contrast_is_with_the_queue():
    model, _ = make(temperature=0.5)
    guess, target, past = unit(3, 8), unit(3, 8, seed=1), unit(12, 8, seed=2)
    losses = []
    for p, z in zip(guess, target, strict=True):
        own = math.exp((p @ z).item() / 0.5)
        losses.append(-math.log(own / (own + sum(math.exp((p @ q).item() / 0.5) for q in past))))
    assert model.contrast(guess, target, past).item() == pytest.approx(sum(losses) / 3)


def test_the_oldest_leave_the_queue_first():
    model, _ = make(queue=5)
    rows = torch.arange(1.0, 10.0)[:, None].expand(9, 128)
    first = model.queue.clone()
    model.remember(rows[:3])
    assert model.queue[:3, 0].tolist() == [1, 2, 3] and torch.equal(model.queue[3:], first[3:])
    model.remember(rows[3:6])
    assert model.queue[:, 0].tolist() == [6, 2, 3, 4, 5]
    model.remember(rows)  # more than it holds
    assert sorted(model.queue[:, 0].tolist()) == [5, 6, 7, 8, 9]


def test_only_training_moves_the_queue():
    model, batch = make()
    before = model.queue.clone()
    model.eval()(batch, rng())
    assert torch.equal(model.queue, before) and model.place == 0
    model.train()(batch, rng())
    assert model.place == 8 and not torch.equal(model.queue[:8], before[:8])
    assert torch.equal(model.queue[8:], before[8:])
    torch.testing.assert_close(model.queue.norm(dim=1), torch.ones(12))


def test_the_slow_copy_follows():
    model, _ = make(ema=0.75)
    with torch.no_grad():
        for value in (*model.backbone.parameters(), *model.projector.parameters()):
            value.add_(1.0)
    slow = [*model.teacher.parameters(), *model.teacher_projector.parameters()]
    before = [value.clone() for value in slow]
    model.after_update(0.5, torch.tensor(True))
    for old, new in zip(before, slow, strict=True):
        torch.testing.assert_close(new, old + 0.25)
    assert not any(value.requires_grad for value in slow)


def test_views_are_two_masks():
    model, batch = make()
    seen = []
    whole = model.masking
    model.masking = lambda tokens, g: seen.append(whole(tokens, g)) or seen[-1]
    model(batch, rng())
    assert len(seen) == 2 and not torch.equal(seen[0].hidden, seen[1].hidden)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"shots": 0}, r"PsCo\.shots must be"),
        ({"shots": 12}, r"PsCo\.queue must be .* at least 13; got 12"),
        ({"ema": 1.5}, r"PsCo\.ema must be"),
        ({"temperature": 0}, r"PsCo\.temperature must be"),
        ({"task_temperature": -1}, r"PsCo\.task_temperature must be"),
    ],
)
def test_settings_are_checked(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        make(**settings)
