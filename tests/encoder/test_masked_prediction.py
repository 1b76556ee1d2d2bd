"""What a caller hides is hidden, and nothing else is."""

import numpy as np
import pytest
import torch

from cases import build, case, read, rng
from metamae.encoder.masked_prediction import check_reconstructs, mask_of, predict_hidden, turns
from metamae.errors import ConfigError
from metamae.methods import METHODS
from metamae.methods.base import Method

PREDICTING = [m for m in METHODS.entries if METHODS.get(m).reconstruct is not Method.reconstruct]


def test_a_mask_hides_just_what_it_is_told():
    hidden = torch.tensor([[True, False, True, False], [False, False, True, True]])
    padding = torch.tensor([[False, False, False, False], [False, False, False, True]])
    mask = mask_of(hidden, padding)
    assert mask.hidden.tolist() == [[True, False, True, False], [False, False, True, False]]
    assert mask.kept.tolist() == [[1, 3], [0, 1]]
    assert not mask.short
    uneven = mask_of(torch.tensor([[True, True, True], [False, True, False]]), None)
    assert uneven.kept.tolist() == [[-1, -1], [0, 2]]
    assert uneven.short


@pytest.mark.parametrize("ratio", [0.15, 0.5, 0.75, 0.99])
def test_every_token_has_its_turn_and_one_stays_visible(ratio):
    there = torch.ones(3, 11, dtype=torch.bool)
    there[1, 5:], there[2, 1:] = False, False
    for draws in (1, 3):
        times = torch.zeros(3, 11)
        for hidden in turns(there, ratio, 0, draws):
            assert not (hidden & ~there).any()
            assert ((there & ~hidden).sum(dim=1)[:2] >= 1).all()
            times += hidden
        assert (times[there] >= draws).all()


def test_turns_do_not_depend_on_companions():
    there = torch.ones(2, 20, dtype=torch.bool)
    there[1, 13:] = False
    together = turns(there, 0.5, 3)
    alone = turns(torch.ones(1, 13, dtype=torch.bool), 0.5, 3)
    for number, hidden in enumerate(alone):
        assert torch.equal(hidden[0], together[number][1, :13])


@pytest.mark.parametrize("method", PREDICTING)
@pytest.mark.parametrize("name", ["series", "images of unequal size", "numbers"])
def test_what_is_hidden_does_not_help_to_predict_itself(name, method):
    """Not even in the inner step, which otherwise sees a few hidden tokens."""
    spec, batch = read(name)
    model = build(spec, method).eval()
    tokens = model.backbone.tokenizer.embed(batch)
    hidden = torch.zeros(tokens.values.shape[:2], dtype=torch.bool)
    hidden[:, 1] = True
    changed = dict(batch)
    changed["cells"] = batch["cells"].clone()
    changed["cells"][:, 1] = 7.0
    first, other = (predict_hidden(model, b, hidden) for b in (batch, changed))
    for a, b in ((first.before, other.before), (first.after, other.after)):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a[:, 1], b[:, 1])
    # A visible one does help.
    changed["cells"][:, 0] += 3.0
    assert not torch.allclose(
        predict_hidden(model, changed, hidden).before[:, 1], first.before[:, 1]
    )


def test_the_method_is_left_as_it_was():
    spec, batch = read("series")
    model = build(spec, "metamae").eval()
    masking, weights = model.masking, {k: v.clone() for k, v in model.state_dict().items()}
    before = model.reconstruct(batch, rng()).hidden
    predict_hidden(model, batch, torch.zeros_like(before))
    assert model.masking is masking
    assert model.support_share == 0.1
    assert model.second_order is True
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert torch.equal(model.reconstruct(batch, rng()).hidden, before)


def test_the_step_is_that_of_the_method():
    """A chosen mask gives what the method gives for the same mask."""
    spec, batch = read("images")
    model = build(spec, "metamae", support_share=0.0).eval()
    own = model.reconstruct(batch, rng(4))
    chosen = predict_hidden(model, batch, own.hidden)
    torch.testing.assert_close(own.before, chosen.before)
    torch.testing.assert_close(own.after, chosen.after)


@pytest.mark.parametrize("method", [m for m in METHODS.entries if m not in PREDICTING])
def test_a_method_without_a_decoder_is_refused(method):
    spec, _ = case("numbers")
    with pytest.raises(ConfigError, match="must have a decoder to predict what is hidden"):
        check_reconstructs(build(spec, method))


def test_all_hidden_is_possible():
    spec, batch = read("numbers")
    model = build(spec).eval()
    found = predict_hidden(model, batch, torch.ones(len(batch["cells"]), 5, dtype=torch.bool))
    assert np.isfinite(found.after.numpy()).all()
