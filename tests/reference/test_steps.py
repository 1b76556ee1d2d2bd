"""Twenty steps of every method on every modality, in float64, are those of version 0.1.0."""

import json

import pytest

from .made import PAIRS, STEPS, float64_steps
from .same import assert_same, is_this_machine


@pytest.mark.parametrize(("modality", "method"), PAIRS)
def test_losses_and_weights(modality, method):
    expected = json.loads(STEPS.read_text())["steps"][f"{modality}-{method}"]
    losses, weights = float64_steps(modality, method)
    assert len(set(losses)) == 20
    exact = is_this_machine()
    assert_same(losses, expected["losses"], rtol=0 if exact else 1e-6)
    # A weight whose gradient is all but zero is moved by the sign of its rounding.
    assert_same(weights, expected["weights"], rtol=0 if exact else 1e-6, atol=0 if exact else 1e-4)
