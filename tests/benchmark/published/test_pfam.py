"""Pfam and TAPE: lists of JSON objects on one line, as Python writes them."""

import json

import numpy as np
import pandas as pd
import pytest

from metamae.benchmark.published import LAYOUTS
from metamae.data.text import spans
from metamae.errors import ConfigError, DataError

LETTERS = list("ARNDCQEGHILKMFPSTWYV")


def protein(rng, num):
    return "".join(rng.choice(LETTERS, num))


def write(root):
    rng = np.random.default_rng(0)
    for name in ("pfam", "fluorescence", "stability", "remote_homology", "secondary_structure"):
        (root / name).mkdir()
    for part, num in (("train", 40), ("valid", 30), ("holdout", 5)):
        rows = []
        for number in range(num):
            seq = protein(rng, int(rng.integers(20, 200)))
            more = {"clan": number % 3 - 1, "family": 100 + number, "id": str(number)}
            rows.append({"primary": seq, "protein_length": len(seq), **more})
        (root / "pfam" / f"pfam_{part}.json").write_text(json.dumps(rows))
    for part, num in (("train", 12), ("valid", 6), ("test", 4), ("test_fold_holdout", 5)):
        tasks = {"fluorescence": [], "stability": [], "remote_homology": []}
        for number in range(num):
            head = {"primary": protein(rng, 60 + number), "protein_length": 60, "id": str(number)}
            tasks["fluorescence"].append(
                {**head, "log_fluorescence": [3.5 + number / 16], "num_mutations": 2}
            )
            tasks["stability"].append(
                {
                    **head,
                    "stability_score": [-1.5e-3 * number],
                    "parent": "HHH_0",
                    "topology": "HHH",
                }
            )
            profile = rng.normal(size=(3, 20)).tolist()
            labels = {"class_label": 1, "fold_label": number % 4, "family_label": number}
            tasks["remote_homology"].append({**head, **labels, "evolutionary": profile})
        for name, rows in tasks.items():
            (root / name / f"{name}_{part}.json").write_text(json.dumps(rows))


def rows_of(root, name, part):
    return json.loads((root / name / f"{name}_{part}.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("tape")
    write(root)
    return root


@pytest.mark.parametrize("block", [spans.BLOCK, 1000])
def test_proteins_and_labels(folder, monkeypatch, block):
    monkeypatch.setattr(spans, "BLOCK", block)
    published = LAYOUTS.build("pfam").read(folder)
    assert list(published.pretrain) == ["primary"]
    own = [row["primary"][:128] for row in rows_of(folder, "pfam", "train")]
    assert published.pretrain["primary"][:].tolist() == own
    assert published.pretrain["primary"].sizes[:, 0].tolist() == [len(seq) for seq in own]
    by_name = {challenge.name: challenge for challenge in published.challenges}
    assert list(by_name) == ["pfam", "fluorescence", "stability", "remote_homology"]
    for name, label in (
        ("fluorescence", "log_fluorescence"),
        ("stability", "stability_score"),
        ("remote_homology", "fold_label"),
    ):
        challenge = by_name[name]
        for records, part in ((challenge.records, "train"), (challenge.test, "valid")):
            rows = rows_of(folder, name, part)
            expected = [np.ravel(row[label])[0] for row in rows]
            np.testing.assert_array_equal(records[label][:], expected)
            assert records["primary"][:].tolist() == [row["primary"] for row in rows]
    assert by_name["stability"].task == "regression"
    assert by_name["remote_homology"].records["fold_label"].dtype == np.int64


def test_the_split_of_pfam_is_that_of_the_papers(folder):
    challenge = LAYOUTS.build("pfam", tasks=[]).read(folder).challenges[0]
    frame = pd.DataFrame(rows_of(folder, "pfam", "valid")).sample(frac=1, random_state=42)
    assert sorted(challenge.test["primary"][:]) == sorted(frame.tail(3)["primary"].str[:128])
    pairs = dict(zip(frame["primary"].str[:128], frame["clan"], strict=True))
    found = zip(challenge.records["primary"][:], challenge.records["clan"][:], strict=True)
    assert all(pairs[seq] == clan for seq, clan in found)


def test_the_split_of_tape(folder):
    published = LAYOUTS.build("pfam", split="tape", length=10).read(folder)
    sizes = [len(challenge.test) for challenge in published.challenges[1:]]
    assert sizes == [4, 4, 5]
    assert {len(seq) for seq in published.pretrain["primary"][:]} == {10}
    with pytest.raises(ConfigError, match=r"Pfam.tasks .*'fluorescense'. Did you mean"):
        LAYOUTS.build("pfam", tasks=["fluorescense"])


def test_an_encoder_learns(folder, learns):
    learns(LAYOUTS.build("pfam").read(folder))


def test_missing_and_damaged_files(tmp_path):
    layout = LAYOUTS.build("pfam")
    with pytest.raises(DataError, match=r"must hold pfam/pfam_train.json"):
        layout.read(tmp_path)
    (tmp_path / "pfam" / "pfam_train.lmdb").mkdir(parents=True)
    with pytest.raises(DataError, match=r"got pfam_train.lmdb, whose records are Python pickles"):
        layout.read(tmp_path)
    (tmp_path / "pfam" / "pfam_train.lmdb").rmdir()
    (tmp_path / "pfam").rmdir()
    write(tmp_path)
    path = tmp_path / "stability" / "stability_valid.json"
    whole = path.read_text()
    path.write_text(whole[:-200])
    with pytest.raises(DataError, match=r"stability_valid.json must end with the end of its list"):
        layout.read(tmp_path)
    path.write_text(whole.replace("stability_score", "score", 1))
    with pytest.raises(DataError, match=r"one 'stability_score' in each object; got 6 .* 6 and 5"):
        layout.read(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"must hold stability/stability_valid.json"):
        layout.read(tmp_path)
