"""What all commands share before they start."""

import os

import pytest

from metamae.cli import main


@pytest.mark.parametrize(("before", "after"), [(None, "20000"), ("7", "7")])
def test_waiting_threads_leave_the_cores_to_others(monkeypatch, before, after) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that the old value comes back at the end
    monkeypatch.delenv("GOMP_SPINCOUNT")
    if before is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", before)
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert os.environ["GOMP_SPINCOUNT"] == after
