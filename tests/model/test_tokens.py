from dataclasses import FrozenInstanceError

import pytest
import torch

from metamae.model.tokens import Mask, Step, Tokens

HIDDEN = torch.tensor([[True, False, False], [True, True, False]])


def test_a_full_mask_has_no_padding():
    mask = Mask(HIDDEN[:1], torch.tensor([[1, 2]]))
    assert mask.padding is None
    assert mask.visible(None).tolist() == [[False, True, True]]


def test_a_short_mask_tells_its_empty_slots():
    mask = Mask(HIDDEN, torch.tensor([[1, 2], [2, -1]]), short=True)
    assert mask.padding.tolist() == [[False, False], [False, True]]


def test_visible_tokens_are_there_and_not_hidden():
    mask = Mask(HIDDEN, torch.tensor([[1, -1], [2, -1]]), short=True)
    padding = torch.tensor([[False, False, True], [False, False, False]])
    assert mask.visible(padding).tolist() == [[False, True, False], [False, False, True]]


def test_what_flows_cannot_be_changed():
    for thing in (Tokens(torch.zeros(1, 1, 1)), Step(torch.zeros(()), {})):
        with pytest.raises(FrozenInstanceError):
            thing.loss = 1
