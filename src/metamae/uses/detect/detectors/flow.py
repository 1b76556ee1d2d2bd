"""A normalising flow on frozen tokens, whose base is learnt in turns with it.

Source: Kim et al., AltUB: Alternating Training Method to Update Base Distribution of Normalizing
Flow for Anomaly Detection, 2022, arXiv:2210.14913: the base is normal with a mean and a variance
of its own for each channel, and every so many steps it is updated alone, at a rate of its own.
Couplings: Dinh et al., ICLR 2017, arXiv:1605.08803. Conditioning on the place: CFLOW-AD, Gudovskiy
et al., WACV 2022, arXiv:2107.12571.
Differs: a place is a learnt vector instead of sines; tokens are whitened along their principal
axes first; scales of the couplings are bounded by a tangent.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from metamae.core.checks import check_at_least, check_between
from metamae.uses.detect.detectors.base import (
    Described,
    Detector,
    Floats,
    Strangeness,
    draw,
    strongest,
)

MOST_TOKENS = 200_000  # that are learnt from
BATCH = 512  # tokens of a step
BOUND = 1.5  # of the logarithm of a coupling's scale
AT_ONCE = 16_384  # tokens that are scored at a time


class Flow(Detector):
    """Negative log-likelihood per dimension under a flow with a learnt base.

    Args:
        steps: Of the optimiser, those of the base alone included.
        couplings: Affine couplings, between which channels are shuffled.
        axes: Principal axes of the tokens that are kept, at most.
        lr: Of flow and base together.
        base_lr: Of the base alone.
        alternate: Steps from one update of the base alone to the next.
        top: Share of the strangest tokens whose mean is a sample's; at least one token counts.
    """

    description: ClassVar[str] = "normalising flow on tokens, its base learnt in turns (AltUB)"

    def __init__(
        self,
        *,
        steps: int = 600,
        couplings: int = 6,
        axes: int = 64,
        lr: float = 1e-3,
        base_lr: float = 0.05,
        alternate: int = 5,
        top: float = 0.1,
    ):
        self.steps = check_at_least("Flow.steps", steps, 1)
        self.couplings = check_at_least("Flow.couplings", couplings, 1)
        self.axes = check_at_least("Flow.axes", axes, 2)
        self.lr = check_between("Flow.lr", lr, 0, 1)
        self.base_lr = check_between("Flow.base_lr", base_lr, 0, 1)
        self.alternate = check_at_least("Flow.alternate", alternate, 2)
        self.top = check_between("Flow.top", top, 0, 1, closed=True)

    def fit(self, normal: Described, seed: int) -> None:
        rng = np.random.default_rng(seed)
        chosen = draw(normal, MOST_TOKENS, rng)
        features = normal.features[chosen].astype(np.float64)
        self.mean = features.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(features - self.mean, rowvar=False))
        kept = values.argsort()[::-1][: self.axes]
        kept = kept[values[kept] > 1e-6 * values[kept[0]]]
        self.whiten = vectors[:, kept] / np.sqrt(values[kept])
        self.known, at = np.unique(normal.places[chosen], return_inverse=True)
        white = torch.from_numpy(((features - self.mean) @ self.whiten).astype(np.float32))
        self._train(white, torch.from_numpy(at) + 1, seed)

    def _train(self, white: Tensor, places: Tensor, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.flow = Couplings(white.shape[1], self.couplings, len(self.known) + 1)
        flow = self.flow
        both = torch.optim.Adam(flow.parameters(), lr=self.lr, weight_decay=1e-5)
        base = torch.optim.Adam([flow.centre, flow.log_variance], lr=self.base_lr)
        for step in range(self.steps):
            rows = torch.randint(len(white), (BATCH,), generator=generator)
            # A place is at times left out, so that one never seen has a vector too.
            where = places[rows] * (torch.rand(BATCH, generator=generator) > 0.05)
            alone = step % self.alternate == self.alternate - 1
            # The base alone: what flows into it is a constant.
            with torch.set_grad_enabled(not alone):
                z, volume = flow(white[rows], where)
            loss = (flow.base(z) - volume).mean() / white.shape[1]
            chosen = base if alone else both
            rate = 0.5 * (1 + np.cos(np.pi * step / self.steps))
            chosen.param_groups[0]["lr"] = rate * (self.base_lr if alone else self.lr)
            flow.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 100.0)
            chosen.step()
        flow.eval()

    @torch.no_grad()
    def score(self, described: Described) -> dict[str, Strangeness]:
        at = np.searchsorted(self.known, described.places).clip(max=len(self.known) - 1)
        at = np.where(self.known[at] == described.places, at + 1, 0)
        tokens: Floats = np.empty(len(described.features))
        for start in range(0, len(tokens), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            white = (described.features[part] - self.mean) @ self.whiten
            values = torch.from_numpy(white.astype(np.float32))
            z, volume = self.flow(values, torch.from_numpy(at[part]))
            tokens[part] = ((self.flow.base(z) - volume) / values.shape[1]).double().numpy()
        return {self.name: Strangeness(strongest(tokens, described.starts, self.top), tokens)}


class Couplings(nn.Module):
    """Affine couplings, each conditioned on a place, over a normal base with learnt moments.

    Args:
        width: D, of the tokens.
        number: Of couplings.
        places: Different places; the first stands for an unknown one.
    """

    centre: nn.Parameter
    log_variance: nn.Parameter

    def __init__(self, width: int, number: int, places: int):
        super().__init__()
        self.kept = width // 2
        self.place = nn.Embedding(places, 16)
        hidden = 2 * width
        inputs, outputs = self.kept + 16, 2 * (width - self.kept)
        self.maps = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
            for _ in range(number)
        )
        for one in self.maps:
            # Each coupling starts as the identity.
            nn.init.zeros_(one[-1].weight)  # type: ignore[index]
            nn.init.zeros_(one[-1].bias)  # type: ignore[index]
        orders = torch.stack([torch.randperm(width) for _ in range(number)])
        self.register_buffer("orders", orders)
        self.centre = nn.Parameter(torch.zeros(width))
        self.log_variance = nn.Parameter(torch.zeros(width))

    def forward(self, values: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens (B, D) at places (B,) to the base; and the log of the change of volume."""
        where = self.place(places)
        volume = values.new_zeros(len(values))
        for order, coupling in zip(self.orders, self.maps, strict=True):  # type: ignore[arg-type]
            values = values[:, order]
            kept, moved = values[:, : self.kept], values[:, self.kept :]
            scale, shift = coupling(torch.cat([kept, where], dim=1)).chunk(2, dim=1)
            scale = BOUND * torch.tanh(scale / BOUND)
            values = torch.cat([kept, moved * scale.exp() + shift], dim=1)
            volume = volume + scale.sum(dim=1)
        return values, volume

    def base(self, z: Tensor) -> Tensor:
        """Negative log-likelihood of the base without its constant, (B,)."""
        squares = (z - self.centre) ** 2 * (-self.log_variance).exp()
        return 0.5 * (squares + self.log_variance).sum(dim=1)
