"""The composition root: names and settings -> objects. The only place that knows all parts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from metamae.core.checks import check_at_least, check_between, check_one_of
from metamae.errors import ConfigError
from metamae.masking import MASKINGS
from metamae.methods import METHODS
from metamae.methods.base import Method
from metamae.modalities.base import Modality
from metamae.model.backbone import Backbone
from metamae.model.decoder import DECODERS
from metamae.model.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class Network:
    """Shape of encoder and decoder.

    Args:
        width: D, of the encoder.
        depth: Blocks of the encoder.
        heads: Attention heads of the encoder; they divide the width.
        mlp_ratio: Hidden units of a block's MLP as a multiple of the width.
        dropout: In the encoder, while training.
        decoder_width: Of the decoder.
        decoder_depth: Blocks of the decoder.
        decoder_heads: Attention heads of the decoder.
        decoder: "joint" if hidden tokens attend to all others, "cross" if to the visible only.

    Raises:
        ConfigError: If a number is out of range or heads do not divide a width.
    """

    width: int
    depth: int
    heads: int
    mlp_ratio: float = 2.0
    dropout: float = 0.0
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    decoder: str = "cross"

    def __post_init__(self) -> None:
        check_one_of("Network.decoder", self.decoder, DECODERS)
        for name, value in asdict(self).items():
            if name == "decoder":
                continue
            if name == "dropout":
                if value != 0:
                    check_between("Network.dropout", value, 0, 1)
            elif name == "mlp_ratio":
                check_between("Network.mlp_ratio", value, 0, float("inf"))
            else:
                check_at_least(f"Network.{name}", value, 1)
        for stack in ("", "decoder_"):
            width, heads = getattr(self, f"{stack}width"), getattr(self, f"{stack}heads")
            if width % heads or width % 2:
                raise ConfigError(
                    f"Network.{stack}width must be even and a multiple of Network.{stack}heads; "
                    f"got {width} for {heads} heads. {2 * heads * max(1, width // (2 * heads))} "
                    f"would do."
                )


SIZES: dict[str, Network] = {
    "tiny": Network(width=64, depth=4, heads=4, decoder_width=32, decoder_depth=2, decoder_heads=2),
    "small": Network(
        width=128, depth=6, heads=4, decoder_width=64, decoder_depth=2, decoder_heads=4
    ),
    "base": Network(
        width=256, depth=8, heads=8, decoder_width=128, decoder_depth=4, decoder_heads=4
    ),
    # Jang et al., NeurIPS 2023, arXiv:2310.16318: the encoder of DABS with a small decoder.
    "paper": Network(
        width=256,
        depth=12,
        heads=8,
        dropout=0.1,
        decoder_width=128,
        decoder_depth=4,
        decoder_heads=4,
        decoder="joint",
    ),
}

# Multiply-adds per second that a training step can count on: deliberately low.
SPEED = {"cpu": 2e10, "cuda": 2e13}
ENOUGH_STEPS = 1000


def auto_size(
    *, num_samples: int, num_tokens: int, batch_size: int, minutes: float | None, device: str
) -> str:
    """Choose a size: as large as the number of samples is worth and the budget allows.

    The choice uses no clock, so that the same call makes the same choice on a busy machine.
    """
    order = ["tiny", "small", "base"]
    wanted = sum(num_samples >= least for least in (3_000, 100_000))
    if device == "cpu" and (minutes is None or minutes < 60):
        wanted = min(wanted, 1)
    while wanted and minutes is not None:
        seconds = step_cost(SIZES[order[wanted]], num_tokens, batch_size) / SPEED[device]
        if minutes * 60 / seconds >= ENOUGH_STEPS:
            break
        wanted -= 1
    return order[wanted]


def step_cost(network: Network, num_tokens: int, batch_size: int) -> float:
    """Multiply-adds of a MetaMAE step at mask ratio 0.75, attention's products left out.

    The encoder runs forward and back over the visible tokens; the decoder runs over all tokens
    twice forward, and each pass is differentiated, one of them twice: 3 and 9 passes.
    """
    per_block = 4 + 2 * network.mlp_ratio
    encoder = network.depth * per_block * network.width**2
    decoder = network.decoder_depth * per_block * network.decoder_width**2
    return batch_size * num_tokens * (0.25 * 3 * encoder + 9 * decoder)


def build_method(
    spec: Modality,
    network: Network,
    *,
    method: str,
    method_settings: Mapping[str, Any],
    masking: str | None,
    masking_settings: Mapping[str, Any],
    seed: int,
) -> Method:
    """Build a method with fresh weights.

    Args:
        spec: What one sample is.
        network: Shape of encoder and decoder.
        method: Registered name.
        method_settings: Its settings.
        masking: Registered name; None for a method that hides nothing.
        masking_settings: Its settings.
        seed: Of the weights. The global generator is left as it was.

    Raises:
        ConfigError: If a name or a setting is unknown or refused, or a method and a masking do
            not go together.
    """
    wanted = METHODS.parts(method)
    if ("masking" in wanted) != (masking is not None):
        verb = "needs" if "masking" in wanted else "does not use"
        raise ConfigError(
            f"Method {method!r} {verb} a masking; got {masking!r}. "
            f"{'random' if 'masking' in wanted else 'None'} would do."
        )
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would seed the GPU too, which is not forked.
        torch.default_generator.manual_seed(seed)
        backbone = _backbone(spec, network)
        parts: dict[str, Any] = {"backbone": backbone}
        if "decoder" in wanted:
            mixer = Transformer(
                network.decoder_width,
                network.decoder_depth,
                network.decoder_heads,
                mlp_ratio=network.mlp_ratio,
            )
            parts["decoder"] = DECODERS[network.decoder](
                backbone.tokenizer, mixer, width=network.decoder_width
            )
        if "teacher" in wanted:
            parts["teacher"] = _backbone(spec, network)
        if masking is not None:
            parts["masking"] = MASKINGS.build(masking, **masking_settings)
        ordered = [parts[name] for name in wanted if name in parts]
        built: Method = METHODS.build(method, *ordered, **method_settings)
    return built


def _backbone(spec: Modality, network: Network) -> Backbone:
    encoder = Transformer(
        network.width,
        network.depth,
        network.heads,
        mlp_ratio=network.mlp_ratio,
        dropout=network.dropout,
    )
    return Backbone(spec.tokenizer(network.width), encoder)
