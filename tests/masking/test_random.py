import torch

from cases import rng
from metamae.masking.random import RandomMasking
from metamae.model.tokens import Tokens


def test_all_tokens_are_hidden_equally_often():
    tokens = Tokens(torch.zeros(4000, 12, 1))
    hidden = RandomMasking(ratio=0.75)(tokens, rng()).hidden
    times = hidden.sum(dim=0)
    spread = (4000 * 0.75 * 0.25) ** 0.5  # 27
    assert (times - 3000).abs().max() < 4 * spread


def test_all_pairs_are_hidden_equally_often():
    tokens = Tokens(torch.zeros(6000, 5, 1))
    hidden = RandomMasking(ratio=0.6)(tokens, rng()).hidden.double()
    pairs = (hidden.T @ hidden)[~torch.eye(5, dtype=torch.bool)]
    expected = 6000 * (3 / 5) * (2 / 4)  # 1800
    chi_square = ((pairs - expected) ** 2 / expected).sum() / 2
    assert chi_square < 25  # 10 pairs; one time in 200 by chance


def test_missing_tokens_take_no_part():
    padding = torch.zeros(3000, 6, dtype=torch.bool)
    padding[:, 2] = True
    hidden = RandomMasking(ratio=0.6)(Tokens(torch.zeros(3000, 6, 1), None, padding), rng()).hidden
    times = hidden.sum(dim=0)
    assert times[2] == 0
    assert (times[~padding[0]] - 3000 * 3 / 5).abs().max() < 4 * (3000 * 0.24) ** 0.5
