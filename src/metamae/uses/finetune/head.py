"""From embeddings to predictions: a linear map, what its outputs mean, and where it begins.

Letters: S samples, F numbers of an embedding, O outputs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from metamae.encoder.embedding import Vectors
from metamae.evaluation.scoring.metrics import primary
from metamae.evaluation.scoring.task import Array, Prediction, Task
from metamae.model.transformer import drop

# L2 strengths against the mean loss, from strong to weak, each fit starting from the one before.
STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
# Used where there is too little to choose by.
DEFAULT_STRENGTH = 1e-1
# Samples that the beginning is fitted on, and steps of each fit: it goes on learning anyway.
MOST_FITTED, FIT_STEPS = 10_000, 50
ROWS = 4096  # mapped at once


@dataclass(frozen=True)
class Target:
    """What the outputs of a head mean.

    Attributes:
        task: What is predicted.
        mean: Of a regression's training labels; its outputs are in standard deviations from it.
        scale: Their standard deviation.
    """

    task: Task
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, task: Task, y: Array) -> "Target":
        """Take the scale from training labels, (S,) or (S, O); all must be there."""
        if task.kind != "regression":
            return cls(task)
        return cls(task, float(np.mean(y)), float(np.std(y)) or 1.0)

    @property
    def outputs(self) -> int:
        """O."""
        return 1 if self.task.kind == "regression" else len(self.task.classes)

    def encode(self, y: Array) -> Tensor:
        """Turn labels into what `loss` compares with: codes (S,), or numbers (S, O)."""
        if self.task.kind == "regression":
            standard = (np.asarray(y, dtype=np.float64) - self.mean) / self.scale
            return torch.from_numpy(standard.astype(np.float32))[:, None]
        codes = torch.from_numpy(np.asarray(y, dtype=np.int64))
        return codes if self.task.kind == "classification" else codes.float()

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Cross-entropy, squared error, or cross-entropy of each label; the mean over samples."""
        if self.task.kind == "classification":
            return functional.cross_entropy(outputs, wanted)
        if self.task.kind == "regression":
            return functional.mse_loss(outputs, wanted)
        return functional.binary_cross_entropy_with_logits(outputs, wanted)

    def predict(self, outputs: Vectors) -> Prediction:
        """Turn outputs (S, O) into codes, numbers in the label's units, or scores of labels."""
        if self.task.kind == "classification":
            codes: Prediction = outputs.argmax(axis=1)
            return codes
        if self.task.kind == "regression":
            numbers: Prediction = outputs[:, 0].astype(np.float64) * self.scale + self.mean
            return numbers
        return outputs

    def probabilities(self, outputs: Vectors) -> NDArray[np.float64] | None:
        """Turn outputs into probabilities, (S, O); None for a regression."""
        if self.task.kind == "regression":
            return None
        logits = torch.from_numpy(outputs).double()
        multi = self.task.kind == "multilabel"
        found: NDArray[np.float64] = (logits.sigmoid() if multi else logits.softmax(1)).numpy()
        return found

    def rank(self, outputs: Vectors, y: Array) -> tuple[float, float]:
        """Return the primary score, turned so that more is better, and minus the loss."""
        metric = primary(self.task)
        score = metric.score(y, self.predict(outputs))
        loss = self.loss(torch.from_numpy(outputs), self.encode(y))
        return (score if metric.higher_is_better else -score), -float(loss)


class Head(nn.Module):
    """A linear map of standardised embeddings: (S, F) -> (S, O).

    Args:
        width: F.
        outputs: O.
        dropout: Share of the values dropped, when a generator is given.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, width: int, outputs: int, *, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.weight = nn.Parameter(torch.zeros(outputs, width))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, features: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Map embeddings to outputs; `rng` is the source of the dropout, None for none."""
        standard = (features - self.shift) / self.scale
        return functional.linear(drop(standard, self.dropout, rng), self.weight, self.bias)

    @torch.no_grad()
    def outputs(self, features: Vectors) -> Vectors:
        """Map embeddings (S, F) to outputs (S, O) on the CPU, each row by itself.

        A matrix product of another size may round differently; so may none of these sums.
        """
        state = {k: v.detach().cpu().double().numpy() for k, v in self.state_dict().items()}
        weight, bias = state["weight"], state["bias"]
        found = np.empty((len(features), len(bias)), dtype=np.float32)
        for start in range(0, len(features), ROWS):
            standard = (features[start : start + ROWS] - state["shift"]) / state["scale"]
            for number, row in enumerate(weight):
                found[start : start + ROWS, number] = (standard * row).sum(axis=1) + bias[number]
        return found

    def begin(
        self,
        target: Target,
        features: Vectors,
        y: Array,
        watched: tuple[Vectors, Array] | None,
        rng: np.random.Generator,
    ) -> None:
        """Fit the head to embeddings of the encoder as it is, before both learn together.

        A random head would pull the encoder about before it has learnt anything itself (Kumar et
        al., ICLR 2022, arXiv:2202.10054, section 3).

        Args:
            target: What the outputs mean.
            features: Embeddings of the training samples, (S, F).
            y: Their labels.
            watched: Embeddings and labels of validation samples, which choose the strength of the
                regularisation; None if there are none.
            rng: Source of a part of the samples, where there are very many.
        """
        if len(y) > MOST_FITTED:
            some = rng.choice(len(y), MOST_FITTED, replace=False)
            features, y = features[some], y[some]
        spread = features.std(axis=0)
        self.shift.copy_(torch.from_numpy(features.mean(axis=0)))
        # A number that hardly varies must not be blown up by what rounding leaves of it.
        least = 1e-4 * float(np.sqrt((spread**2).mean())) or 1.0
        self.scale.copy_(torch.from_numpy(np.where(spread > least, spread, 1.0)))
        rows, wanted = torch.from_numpy(features), target.encode(y)
        if watched is None:
            self._fit(target, rows, wanted, DEFAULT_STRENGTH)
            return
        best, chosen = (-np.inf, -np.inf), self.state_dict()
        for strength in STRENGTHS:
            self._fit(target, rows, wanted, strength)
            rank = target.rank(self.outputs(watched[0]), watched[1])
            if rank > best:
                best = rank
                chosen = {k: v.clone() for k, v in self.state_dict().items()}
        self.load_state_dict(chosen)

    def _fit(self, target: Target, rows: Tensor, wanted: Tensor, strength: float) -> None:
        optimizer = torch.optim.LBFGS(
            self.parameters(), max_iter=FIT_STEPS, line_search_fn="strong_wolfe"
        )

        def closure() -> float:
            optimizer.zero_grad()
            size = self.weight.square().sum()
            loss = target.loss(self(rows), wanted) + strength / 2 * size
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())

        optimizer.step(closure)  # type: ignore[no-untyped-call]
