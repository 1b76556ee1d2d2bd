"""What all commands share before they start."""

import os

import pytest

from metamae.cli import main


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_leave_the_cores_to_others(monkeypatch, before, after) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that the old value comes back at the end
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if before is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == after
