"""MetaMAE against golden values: every loss and every gradient, in float64.

The files hold three small networks with random weights, their inputs, masks, losses and gradients,
computed once with an independent implementation of the published arithmetic. Its inner loss is
the batch form, and its targets are the raw inputs.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from metamae.masking.random import RandomMasking
from metamae.methods.metamae import MetaMAE
from metamae.modalities.grid.grid import Grid
from metamae.modalities.symbols.symbols import Symbols
from metamae.model import recompute as parts
from metamae.model.backbone import Backbone
from metamae.model.decoder import JointDecoder
from metamae.model.tokens import Mask
from metamae.model.transformer import Transformer

FOLDER = Path(__file__).parent / "golden"
SPECS = {
    "series": Grid(
        column="X", layout="first", channels=3, size=(24,), cell=(2,), mean=(0,) * 3, std=(1,) * 3
    ),
    "image": Grid(
        column="X", layout="first", channels=2, size=(16, 16), cell=(4, 4), mean=(0, 0), std=(1, 1)
    ),
    "tokens": Symbols(
        column="X",
        alphabet=(0, 1, 2, 3, 4),
        frequencies=(0.2,) * 5,
        length=20,
        equal=True,
        max_length=20,
    ),
}
NAMES = {
    "cls_token": "backbone.cls",
    "mask_token": "decoder.blank",
    "norm_enc": "backbone.encoder.norm",
    "norm_dec": "decoder.mixer.norm",
    "decoder_embed": "decoder.narrow",
    "decoder_head": "decoder.head",
    "projector": "projector",
}
INSIDE = {
    "attn.qkv": "qkv",
    "attn.proj": "out",
    "mlp.fc1": "expand",
    "mlp.fc2": "contract",
    "norm1": "norm1",
    "norm2": "norm2",
}


def our_name(theirs: str) -> str:
    for stack, ours in (
        ("encoder.", "backbone.encoder.blocks."),
        ("decoder.", "decoder.mixer.blocks."),
    ):
        if theirs.startswith(stack):
            number, rest = theirs[len(stack) :].split(".", 1)
            module, leaf = rest.rsplit(".", 1)
            return f"{ours}{number}.{INSIDE[module]}.{leaf}"
    for prefix, ours in NAMES.items():
        if theirs == prefix or theirs.startswith(prefix + "."):
            return ours + theirs[len(prefix) :]
    return {
        "patch_embed.proj.weight": "backbone.tokenizer.project.weight",
        "patch_embed.proj.bias": "backbone.tokenizer.project.bias",
    }[theirs]


def our_shape(name: str, value: Tensor) -> tuple[str, Tensor]:
    """Turn a golden weight or gradient into ours; a kernel (D, C, *cell) becomes a matrix."""
    if name in ("cls_token", "mask_token"):
        return our_name(name), value.flatten()
    if name == "patch_embed.proj.weight" and value.ndim == 2:
        return "backbone.tokenizer.table", value
    if name == "patch_embed.proj.weight":
        return our_name(name), value.movedim(1, -1).flatten(1)
    return our_name(name), value


class Case:
    def __init__(self, name: str):
        golden = load_file(FOLDER / f"{name}.safetensors")
        self.io = {k[3:]: v for k, v in golden.items() if k.startswith("io.")}
        fixed = ("pos_embed", "decoder_pos_embed", "inner_lr")
        weights, self.grads = {}, {}
        for key, value in golden.items():
            kind, theirs = key.split(".", 1)
            if kind in ("param", "grad") and theirs not in fixed:
                ours, shaped = our_shape(theirs, value)
                (weights if kind == "param" else self.grads)[ours] = shaped
        tokenizer = SPECS[name].tokenizer(16)
        backbone = Backbone(tokenizer, Transformer(16, 2, 4))
        decoder = JointDecoder(tokenizer, Transformer(8, 2, 2), width=8)
        self.method = MetaMAE(
            backbone,
            decoder,
            RandomMasking(),
            inner_lr=0.5,
            # The widest, since the golden support sets were drawn token by token.
            support_share=1.0,
            contrast_weight=1.0,
            normaliser="batch",
        ).double()
        missing, unexpected = self.method.load_state_dict(weights, strict=False)
        assert not unexpected
        assert all("running" in key or "num_batches" in key for key in missing)
        x = self.io["input"]
        if name == "tokens":
            self.batch = {"codes": x}
        else:
            # The spec's statistics are 0 and 1, so this only cuts cells; by hand, in float64.
            from metamae.modalities.grid.geometry import to_cells

            spec = SPECS[name]
            cells = to_cells(x.numpy(), spec.counts, spec.cell)
            self.batch = {"cells": torch.from_numpy(cells)}
            torch.testing.assert_close(self.batch["cells"], self.io["target"], rtol=0, atol=0)
        self.mask = Mask(self.io["mask"] > 0, self.io["ids_keep"])
        self.tokens = backbone.tokenizer.embed(self.batch)
        self.support = self.io["support_mask"] > 0

    def losses(self):
        rng = torch.Generator().manual_seed(0)
        return self.method.losses(self.batch, self.tokens, self.mask, self.support, rng)


def close(ours: Tensor, golden: Tensor) -> None:
    """1e-9 relative to the largest entry: single entries of a gradient may all but cancel."""
    assert ours.dtype == torch.float64
    assert (ours - golden).abs().max() <= 1e-9 * golden.abs().max()


@pytest.fixture(params=list(SPECS))
def case(request) -> Case:
    return Case(request.param)


def test_latents(case: Case) -> None:
    latent = case.method.backbone.encode(case.tokens, case.mask)
    close(latent, case.io["latent"])
    adapted = case.method.adapt(latent, case.batch, case.tokens, case.mask, case.support)
    close(adapted.latent, case.io["adapted_latent"])
    inner = adapted.errors_before * case.method.shares(case.support, latent)
    close(inner.sum() / len(latent), case.io["inner_loss"])
    predicted = case.method.decoder(adapted.latent, case.mask, None, case.batch)
    if "codes" in case.batch:
        predicted = case.method.backbone.tokenizer.logits(predicted).transpose(1, 2)
    close(predicted, case.io["prediction_last"])


@pytest.mark.parametrize("tokens", [0, 1, 40, 10**6], ids="{} in a part".format)
def test_losses_and_gradients(case: Case, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the inner step is computed again and decoding is done in parts."""
    case.method.recompute = tokens > 0
    monkeypatch.setitem(parts.TOKENS, "cpu", tokens)
    step = case.losses()
    close(step.loss, case.io["loss"])
    close(step.logs["reconstruction"], case.io["outer_loss"])
    close(step.logs["contrast"], case.io["contrastive_loss"])
    step.loss.backward()
    found = dict(case.method.named_parameters())
    assert set(found) == set(case.grads)
    for name, golden in case.grads.items():
        close(found[name].grad, golden)


def test_first_order_differs(case: Case) -> None:
    case.method.second_order = False
    step = case.losses()
    close(step.loss, case.io["loss"])
    step.loss.backward()
    name = "decoder.narrow.weight"
    ours, golden = dict(case.method.named_parameters())[name].grad, case.grads[name]
    assert (ours - golden).abs().max() > 1e-3 * golden.abs().max()


def test_embedding(case: Case) -> None:
    close(case.method.backbone.features(case.batch), case.io["features_eval"])


def test_support_of_golden_is_possible(case: Case) -> None:
    """The golden support set holds all visible tokens and only hidden ones that touch one."""
    widest = case.method.support(case.tokens, case.mask, torch.Generator().manual_seed(0))
    assert (case.support <= widest).all()
    assert (~case.mask.hidden <= case.support).all()
