"""Methods that learn from a second network: one that follows, and one that never moves."""

import pytest
import torch
import torch.nn.functional as F

from cases import build, read, rng
from metamae.methods.data2vec import collapse_logs


def test_targets_are_the_mean_of_the_normalised_last_blocks():
    spec, batch = read("images")
    model = build(spec, "data2vec", average_blocks=2)
    teacher = model.teacher
    tokens = teacher.tokenizer.embed(batch)
    x = torch.cat([teacher.cls.expand(len(tokens.values), 1, -1), tokens.placed], dim=1)
    outputs = []
    for block in teacher.encoder.blocks:
        x = block(x, None, padding=None, twice=False)
        latent = x[:, 1:]
        spread = latent.var(dim=2, correction=0, keepdim=True)
        outputs.append((latent - latent.mean(dim=2, keepdim=True)) / (spread + 1e-5).sqrt())
    torch.testing.assert_close(model.target(batch), torch.stack(outputs[-2:]).mean(dim=0))
    assert len(teacher.layers(tokens, 99)) == len(teacher.encoder.blocks)


@pytest.mark.parametrize("name", ["images", "codes of unequal length"])
def test_the_loss_is_taken_on_hidden_tokens(name):
    spec, batch = read(name)
    model = build(spec, "data2vec", beta=0.5)
    tokens = model.backbone.tokenizer.embed(batch)
    hidden = model.masking(tokens, rng()).hidden
    values = torch.where(hidden[..., None], model.blank, tokens.values)
    seen = type(tokens)(values, tokens.neighbours, tokens.padding, places=tokens.places)
    predicted, target = model.head(model.backbone.encode(seen)[:, 1:]), model.target(batch)
    losses = []
    for at in zip(*torch.nonzero(hidden).T, strict=True):
        away = (predicted[at] - target[at]).abs()
        losses.append(torch.where(away < 0.5, away.square(), away - 0.25).mean())
    torch.testing.assert_close(model(batch, rng()).loss, torch.stack(losses).mean())


def test_the_teacher_follows_ever_more_slowly():
    spec, _ = read("images")
    model = build(spec, "data2vec", ema_start=0.5, ema_end=1.0)
    with torch.no_grad():
        for value in model.backbone.parameters():
            value.add_(1.0)
    before = [value.clone() for value in model.teacher.parameters()]
    model.after_update(1.0, torch.tensor(True))
    assert all(map(torch.equal, before, model.teacher.parameters()))
    model.after_update(0.0, torch.tensor(True))
    for old, new in zip(before, model.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.5)
    model.after_update(0.5, torch.tensor(True))
    for old, new in zip(before, model.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.5 + 0.125)


@pytest.mark.parametrize("method", ["data2vec", "random_teacher"])
def test_the_teacher_is_no_pupil(method):
    spec, batch = read("images")
    model = build(spec, method)
    model(batch, rng()).loss.backward()
    frozen = [value for value in model.parameters() if not value.requires_grad]
    assert len(frozen) >= len(list(model.backbone.parameters()))
    assert all(value.grad is None for value in frozen)


def test_collapse_is_seen():
    target = torch.randn(5, 6, 8, generator=rng())
    hidden = torch.rand(5, 6, generator=rng()) < 0.5
    logs = collapse_logs(target, target, hidden)
    assert logs["target_r2"] == 1
    torch.testing.assert_close(logs["target_std"], target[hidden].std(dim=0, correction=0).mean())
    same = torch.ones_like(target)
    assert collapse_logs(same, same, hidden)["target_std"] == 0
    mean = target[hidden].mean(dim=0).expand_as(target)
    assert collapse_logs(mean, target, hidden)["target_r2"].abs() < 1e-5


def test_a_random_teacher_differs_from_its_pupil_and_never_moves():
    spec, batch = read("images")
    model = build(spec, "random_teacher")
    pairs = list(zip(model.teacher.parameters(), model.backbone.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in pairs)
    before = [value.clone() for value in model.teacher.parameters()]
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    gaps = []
    for _ in range(40):
        step = model(batch, rng())
        gaps.append(step.logs["divergence"].item())
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
    model.after_update(1.0, torch.tensor(True))
    assert all(map(torch.equal, before, model.teacher.parameters()))
    assert min(gaps) >= -1e-5 and gaps[-1] < 0.5 * gaps[0]


def test_divergence_is_that_of_the_two_answers():
    spec, batch = read("images")
    model = build(spec, "random_teacher", outputs=7)
    wanted = (model.teacher_head(model.teacher.features(batch)) / 0.1).softmax(dim=1)
    guess = (model.head(model.backbone.features(batch)) / 0.1).log_softmax(dim=1)
    expected = F.kl_div(guess, wanted, reduction="batchmean")
    torch.testing.assert_close(model(batch, rng()).logs["divergence"], expected.detach())
