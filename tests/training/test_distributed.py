"""A method can be wrapped for distributed training as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .two_processes import CASES, B, gradients, join, prepare

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """Case -> gradients that two processes found together, each on a half of the batch."""
    meeting = tmp_path_factory.mktemp("distributed") / "meeting"
    # This process is the first of the two.
    other = subprocess.Popen(
        [sys.executable, "-m", "training.two_processes", str(meeting)],
        cwd=HERE.parent,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        found = join(0, meeting)
    _, err = other.communicate(timeout=60)
    assert other.returncode == 0, err
    return found


def difference(a, b):
    return max(float((a[k] - b[k]).abs().max()) for k in b)


@pytest.mark.parametrize("case", ["mae", "metamae", "two steps", "again"])
def test_two_processes_find_the_gradients_of_one(averaged, case):
    together, alone = averaged[case], gradients(prepare(case), slice(B))
    unused = {k for k in together if k not in alone}
    assert all(k.startswith("projector") and not together[k].any() for k in unused)
    assert difference(together, alone) < 1e-6
    assert max(float(g.abs().max()) for g in alone.values()) > 1e-2


def test_it_is_the_mean_within_each_sample_that_makes_it_so(averaged):
    # The published code's normaliser depends on the batch, and so on how it is shared out.
    alone = gradients(prepare("batch"), slice(B))
    assert difference(averaged["batch"], alone) > 1e-4


def test_the_inner_gradient_reaches_the_decoder_by_way_of_the_second_order():
    # What the inner step contributes must be part of the gradients that are averaged.
    method = prepare("metamae")
    second = gradients(method, slice(B))
    first_only = prepare("metamae")
    first_only.second_order = False
    first = gradients(first_only, slice(B))
    assert set(CASES) == {"mae", "metamae", "two steps", "again", "batch"}
    assert difference(second, first) > 1e-4
    assert torch.isfinite(torch.stack([g.norm() for g in second.values()])).all()
