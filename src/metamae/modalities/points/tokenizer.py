"""Groups of points as tokens, and back."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.modalities.points.geometry import chamfer
from metamae.modalities.points.places import CentrePlaces
from metamae.modalities.points.spec import PointsSpec
from metamae.model.tokenizer import Tokenizer
from metamae.model.tokens import Batch, Tokens
from metamae.model.transformer import xavier_linear


class PointsTokenizer(Tokenizer):
    """Groups of points in, tokens out."""

    scored = ("groups", "valid")
    template: Tensor

    def __init__(self, spec: PointsSpec, width: int):
        super().__init__()
        self.spec, self.width = spec, width
        self.each = nn.Sequential(
            xavier_linear(spec.num_values, width), nn.ReLU(), xavier_linear(width, width)
        )
        self.whole = nn.Sequential(
            xavier_linear(width, width), nn.ReLU(), xavier_linear(width, width)
        )
        self.place = self.positions(width)
        self.register_buffer("template", torch.tensor(spec.template), persistent=False)

    def embed(self, batch: Batch) -> Tokens:
        points = self.each(batch["groups"])  # (B, N, K, D)
        padding = None
        if "valid" in batch:
            valid = batch["valid"]
            points = points.masked_fill(~valid[..., None], torch.finfo(points.dtype).min)
            padding = ~valid.any(dim=-1)
        groups = points.amax(dim=2)
        if padding is not None:
            groups = groups.masked_fill(padding[..., None], 0.0)
        return Tokens(self.whole(groups), batch["near"], padding, places=self.place(batch))

    def positions(self, width: int) -> nn.Module:
        """Return a map from the centres to positions, (B, N, width).

        A decoder is thus told where the centres of hidden groups lie, and with them the coarse
        shape of what is hidden; so it is in Point-MAE. What is left to predict is the surface
        around each centre.
        """
        return CentrePlaces(self.spec.dims, width)

    def head(self, width: int) -> nn.Module:
        """Return the map to K points of C values, which begins at the typical group."""
        linear = xavier_linear(width, self.template.numel())
        with torch.no_grad():
            linear.bias.copy_(self.template.flatten())
        return linear

    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Chamfer distance of each group, and squared error of the matched points' features.

        The first is in units of the typical group's distance, the second in standard deviations;
        the coordinates together count as often as there are coordinates, each feature once.
        """
        return self._distance(self._points(predicted), batch)

    def _points(self, predicted: Tensor) -> Tensor:
        """Predictions (B, N, K * C) as points (B, N, K, C)."""
        return predicted.view(*predicted.shape[:2], *self.template.shape)

    def _distance(self, guess: Tensor, batch: Batch) -> Tensor:
        A, C = self.spec.dims, self.spec.num_values
        squares = chamfer(guess, batch["groups"], batch.get("valid"), A)
        return (A * squares[..., :A].sum(dim=-1) + squares[..., A:].sum(dim=-1)) / C

    def baseline(self, batch: Batch) -> Tensor:
        guess = self.template.expand(*batch["groups"].shape[:2], -1, -1)
        return self._distance(guess, batch)

    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """Put groups back at their centres: an object array (B,) of arrays (points, C).

        The groups of a set stand one behind the other. A group has as many points as the true
        one, which is K except in sets of fewer points.
        """
        return self._put_back(self._points(predicted.detach()), batch)

    def original(self, batch: Batch) -> NDArray[Any]:
        return self._put_back(batch["groups"], batch)

    def _put_back(self, groups: Tensor, batch: Batch) -> NDArray[Any]:
        spec, A = self.spec, self.spec.dims
        values = groups.double().cpu().numpy()
        centres, frame = batch["centres"].double().cpu().numpy(), batch["frame"].cpu().numpy()
        places = values[..., :A] * spec.scale + centres[:, :, None]
        size, origin = frame[:, None, None, A:], frame[:, None, None, :A]
        features = values[..., A:] * np.array(spec.std[A:]) + np.array(spec.mean[A:])
        return _rows(np.concatenate([places * size + origin, features], axis=-1), batch)

    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[Any]:
        """Mark the values of points: an object array (B,) of boolean arrays (points, C)."""
        marks = hidden[..., None, None].expand(-1, -1, *self.template.shape)
        return _rows(marks.cpu().numpy(), batch)


def _rows(values: NDArray[Any], batch: Batch) -> NDArray[Any]:
    """Values of the points that are there, set by set: (B, N, K, ...) -> (B,) of (points, ...)."""
    rows = np.empty(len(values), dtype=object)
    valid = batch["valid"].cpu().numpy() if "valid" in batch else np.ones(values.shape[:3], bool)
    for row, there in enumerate(valid):
        rows[row] = values[row][there]
    return rows
