"""`metamae report`: one page for a run, one for several."""

import pytest

from command import metamae, refused
from metamae.uses.report.report import QUICK


def test_one_run_has_a_page(runs, tmp_path):
    out = tmp_path / "page.html"
    said = metamae("report", runs / "table", "--out", out, "--label", "kind", "--points", 20)
    assert said.status == 0, said.err
    assert said.out == f"{out}\n"
    assert "20 samples, drawn at random from 90" in out.read_text(encoding="utf-8")
    assert QUICK < 10_000


def test_several_runs_are_compared(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = metamae("report", runs / "table", runs / "series")
    assert said.status == 0 and said.out == "comparison.html\n"
    assert "comparison.html must not exist yet" in refused(
        metamae("report", runs / "table", runs / "series")
    )
    assert metamae("report", runs / "table", runs / "series", "--overwrite").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Report must have the folder of a run; got none"),
        (["RUN", "--map", "umap"], "got 'umap'. Known: pca, tsne"),
        (["RUN", "--label", "knid"], "has no field 'knid'"),
        (["RUN", "RUN", "--label", "kind"], "Report.label must be left out where several runs"),
        (["nowhere"], "must be the folder of a run"),
    ],
)
def test_what_is_refused(runs, tmp_path, arguments, message):
    given = [runs / "table" if word == "RUN" else word for word in arguments]
    said = metamae("report", *given, *(["--out", tmp_path / "p.html"] if given else []))
    assert message in refused(said)
    assert not list(tmp_path.iterdir())
