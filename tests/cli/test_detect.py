"""`metamae detect` as a user meets it."""

import json

from command import metamae, refused


def test_a_table_of_detectors_and_the_strangest(data, runs, tmp_path):
    options = ["--by", "mahalanobis", "--by", "memory", "--false-alarms", "0.1"]
    said = metamae("detect", runs / "table", data / "table.csv", *options)
    assert said.status == 0, said
    for word in ("mahalanobis", "memory", "raw_knn", "Strangest by mahalanobis", "Note: "):
        assert word in said.out
    assert "AUROC" not in said.out


def test_labels_and_json(data, runs):
    options = ["--label", "kind", "--normal-value", "up", "--by", "mahalanobis"]
    shown = metamae("detect", runs / "table", data / "table.csv", *options)
    assert "AUROC (95 % interval)" in shown.out
    assert "labelled as not normal" in shown.out
    said = metamae("detect", runs / "table", data / "table.csv", *options, "--json")
    found = json.loads(said.out)
    assert set(found["detectors"]) == {"mahalanobis"}
    assert 0 <= found["detectors"]["mahalanobis"]["auroc"] <= 1
    assert found["detectors"]["mahalanobis"]["threshold"] is None


def test_a_page_of_the_strangest(data, runs, tmp_path):
    page = tmp_path / "strange.html"
    options = ["--by", "mahalanobis", "--false-alarms", "0.1", "--page", page, "--strangest", "4"]
    said = metamae("detect", runs / "words", data / "words.csv", *options)
    assert said.status == 0, said
    assert page.read_text().count("<article") == 4
    assert "must not exist yet" in metamae("detect", runs / "words", "x", *options).err


def test_refusals(data, runs):
    said = metamae("detect", runs / "table", data / "table.csv", "--label", "kind")
    assert "--normal-value down would do" in refused(said)
