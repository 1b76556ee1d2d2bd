"""What learns: gradients reach it and nothing else; low-rank parts begin as nothing and merge."""

import copy

import pytest
import torch

from cases import NETWORK, build, read
from metamae.errors import ConfigError
from metamae.run.build import Network
from metamae.uses.finetune.adapters import choose_trained, merge

DEEP = Network(**{**NETWORK.__dict__, "depth": 3})


def made(how="full", **settings):
    spec, batch = read("series")
    backbone = build(spec, network=DEEP).backbone
    choose_trained(backbone, how, **settings)
    return backbone, batch


def reached(backbone, batch):
    """Names of the parameters that a loss of the features has a gradient for."""
    backbone.features(batch).square().sum().backward()
    return {name for name, p in backbone.named_parameters() if p.grad is not None}


def test_full_reaches_all_that_features_depend_on():
    backbone, batch = made("full")
    every = {name for name, _ in backbone.named_parameters()}
    assert reached(backbone, batch) == every


def test_last_reaches_the_last_blocks_and_the_norm_only():
    names = reached(*made("last", blocks=2))
    parts = {".".join(name.split(".")[:3]) for name in names}
    assert parts == {
        *("encoder.blocks.1", "encoder.blocks.2"),
        *("encoder.norm.weight", "encoder.norm.bias"),
    }


def test_lora_reaches_low_rank_matrices_of_all_blocks_only():
    backbone, batch = made("lora", rank=2)
    for module in backbone.modules():
        if hasattr(module, "up"):
            torch.nn.init.normal_(module.up, generator=torch.Generator().manual_seed(0))
    names = reached(backbone, batch)
    assert len(names) == 3 * 4 * 2
    assert {name.rpartition(".")[2] for name in names} == {"down", "up"}


def test_lora_begins_as_it_was_and_merges_exactly():
    spec, batch = read("series")
    plain = build(spec, network=DEEP).backbone.eval()
    changed = copy.deepcopy(plain)
    choose_trained(changed, "lora", rank=2, seed=1)
    assert torch.equal(changed.features(batch), plain.features(batch))
    for module in changed.modules():
        if hasattr(module, "up"):
            torch.nn.init.normal_(module.up, generator=torch.Generator().manual_seed(0))
    learnt = changed.features(batch)
    assert not torch.allclose(learnt, plain.features(batch))
    merge(changed)
    assert torch.equal(changed.features(batch), learnt)
    assert set(changed.state_dict()) == set(plain.state_dict())


@pytest.mark.parametrize(
    ("how", "settings", "message"),
    [
        ("last", {"blocks": 4}, "Finetune.blocks must be between 1 and the encoder's 3; got 4"),
        ("lora", {"rank": 17}, "Finetune.rank must be between 1 and the width of the encoder, 16"),
        ("half", {}, "Finetune.how must be one of its known values"),
    ],
)
def test_what_cannot_be_is_refused(how, settings, message):
    with pytest.raises(ConfigError, match=message):
        made(how, **settings)
