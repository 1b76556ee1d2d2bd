"""The README's quick start, run as it stands, in order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"<!-- test: ([a-z ]+) -->\n```(bash|python)\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall(README.read_text(encoding="utf-8"))


def test_blocks_are_found() -> None:
    assert [name for name, _, _ in BLOCKS] == ["quick start", "python", "load", "schema", "uses"]


# One test, since each block goes on with the files of those before.
def test_the_blocks_in_order(tmp_path: Path) -> None:
    for name, language, code in BLOCKS:
        check(name, language, code, tmp_path)


def check(name: str, language: str, code: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-e", "-c", code] if language == "bash" else [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{name}: {done.stderr}"
    if name == "quick start":
        assert "Pretraining" in done.stdout
        assert (folder / "vectors.parquet").is_file()
    if name == "uses":
        assert (folder / "scores.parquet").is_file()
        assert "<html" in (folder / "run" / "report.html").read_text(encoding="utf-8")
    if name == "python":
        assert float(done.stdout) > 0.5
