"""The linear probe of DABS, to compare with published numbers; the linear probe is the better one.

Source: Tamkin et al., DABS, NeurIPS 2021 Datasets and Benchmarks, arXiv:2111.12062, section 4, and
its published configuration: a linear layer on frozen features, Adam with decay, 100 epochs.
Differs: the encoder does not drop anything while the probe is fitted (the published code leaves
its dropout on), so that features are computed once.
"""

from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least, check_between
from metamae.evaluation.probes.base import Evaluation, Labelled
from metamae.evaluation.scoring.task import Array, Prediction, Task


class DabsProbe(Evaluation):
    """A linear layer fitted by gradient descent; nothing is standardised and nothing chosen.

    Args:
        lr: Learning rate.
        weight_decay: Decoupled decay of the weights.
        epochs: Passes over the training samples.
        batch_size: Samples of a step.
    """

    description: ClassVar[str] = "The published probe of DABS: Adam, fixed rate and epochs."

    def __init__(
        self,
        *,
        lr: float = 1e-4,
        weight_decay: float = 1e-4,
        epochs: int = 100,
        batch_size: int = 64,
    ):
        self.lr = check_between("DabsProbe.lr", lr, 0, float("inf"))
        self.weight_decay = check_between(
            "DabsProbe.weight_decay", weight_decay, 0, float("inf"), closed=True
        )
        self.epochs = check_at_least("DabsProbe.epochs", epochs, 1)
        self.batch_size = check_at_least("DabsProbe.batch_size", batch_size, 1)

    def fit_predict(
        self, train: Labelled, test_features: Array, task: Task, rng: np.random.Generator
    ) -> Prediction:
        import torch

        draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
        x = torch.from_numpy(np.ascontiguousarray(train.features, dtype=np.float32))
        y = torch.from_numpy(np.ascontiguousarray(train.labels))
        y = y.long() if task.kind == "classification" else y.float().reshape(len(y), -1)
        outputs = len(task.classes) if task.kind == "classification" else y.shape[1]
        # The start that torch gives a linear layer, drawn without the global generator.
        bound = x.shape[1] ** -0.5
        weight, bias = (
            ((2 * torch.rand(shape, generator=draws) - 1) * bound).requires_grad_()
            for shape in ((outputs, x.shape[1]), (outputs,))
        )
        measure: Any = {
            "classification": torch.nn.functional.cross_entropy,
            "multilabel": torch.nn.functional.binary_cross_entropy_with_logits,
            "regression": torch.nn.functional.mse_loss,
        }[task.kind]
        optimizer = torch.optim.AdamW([weight, bias], lr=self.lr, weight_decay=self.weight_decay)
        for _ in range(self.epochs):
            for rows in torch.split(torch.randperm(len(x), generator=draws), self.batch_size):
                loss = measure(x[rows] @ weight.T + bias, y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            test = torch.from_numpy(np.ascontiguousarray(test_features, dtype=np.float64))
            found = (test @ weight.double().T + bias.double()).numpy()
        if task.kind == "classification":
            return np.asarray(found.argmax(axis=1))
        return np.asarray(found[:, 0] if task.kind == "regression" else found)
