"""Positions of groups of points, which follow from where their centres are."""

from torch import Tensor, nn

from metamae.model.tokens import Batch
from metamae.model.transformer import xavier_linear

PLACE_WIDTH = 128  # hidden units between a centre and its position, as in Point-MAE


class CentrePlaces(nn.Module):
    """Positions from the centres of the groups: batch -> (B, N, width)."""

    def __init__(self, dims: int, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            xavier_linear(dims, PLACE_WIDTH), nn.GELU(), xavier_linear(PLACE_WIDTH, width)
        )

    def forward(self, batch: Batch) -> Tensor:
        places: Tensor = self.layers(batch["centres"])
        return places
