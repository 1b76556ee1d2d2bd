"""Genomics: text files with tabs, one per split."""

import numpy as np
import pytest

from metamae.benchmark.published import LAYOUTS
from metamae.errors import DataError

GENERA = {
    "before_2011_in_tr": ["Bacillus", "Yersinia"],
    "between_2011-2016_in_val": ["Bacillus", "Yersinia"],
    "between_2011-2016_ood_val": ["Advenella", "Terriglobus", "Kutzneria"],
    "after_2016_in_test": ["Bacillus", "Yersinia"],
    "after_2016_ood_test": ["Olleya"],
}


def write(root, columns=("seq", "label", "seq_info", "domain")):
    """Sequences whose first letters are those of a code for the genus and a number."""
    rng = np.random.default_rng(0)
    for name, genera in GENERA.items():
        rows = ["\t".join(columns)]
        for number in range(20):
            genus = genera[number % len(genera)]
            head = "ACGT"[len(genus) % 4] * 3
            row = {
                "seq": head + "".join(rng.choice(list("ACGT"), 247)),
                "label": genus,
                "seq_info": f"{genus}_sp__NC_00{number}.1__{number * 250}",
                "domain": "ood" if "ood" in name else "in",
            }
            rows.append("\t".join(row[column] for column in columns))
        (root / f"{name}.txt").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    "columns", [("seq", "label", "seq_info", "domain"), ("label", "seq_info", "seq", "domain")]
)
def test_sequences_and_genera(tmp_path, columns):
    write(tmp_path, columns)
    published = LAYOUTS.build("genomics").read(tmp_path)
    assert list(published.pretrain) == ["seq"]
    assert len(published.pretrain) == 18
    assert {len(seq) for seq in published.pretrain["seq"][:]} == {250}
    names = [challenge.name for challenge in published.challenges]
    assert names == ["genomics", "genomics_ood"]
    for challenge, file in zip(published.challenges, list(GENERA)[1:3], strict=True):
        assert (len(challenge.records), len(challenge.test)) == (18, 2)
        seen = []
        for records in (challenge.records, challenge.test):
            pairs = zip(records["seq"][:], records["label"][:], strict=True)
            for seq, label in pairs:
                assert seq[:3] == "ACGT"[len(label) % 4] * 3
                seen.append((seq, label))
        lines = (tmp_path / f"{file}.txt").read_text().splitlines()[1:]
        assert len(seen) == len(set(seen)) == len(lines)
        assert {label for _, label in seen} == set(GENERA[file])


def test_an_encoder_learns(tmp_path, learns):
    write(tmp_path)
    learns(LAYOUTS.build("genomics").read(tmp_path))


def test_missing_and_damaged_files(tmp_path):
    layout = LAYOUTS.build("genomics")
    with pytest.raises(DataError, match=r"must hold before_2011_in_tr.txt as the data set is"):
        layout.read(tmp_path)
    (tmp_path / "before_2011_in_tr").mkdir()
    with pytest.raises(DataError, match=r"got a folder of that name, the form for TensorFlow"):
        layout.read(tmp_path)
    (tmp_path / "before_2011_in_tr").rmdir()
    write(tmp_path)
    path = tmp_path / "between_2011-2016_in_val.txt"
    whole = path.read_text()
    path.write_text(whole.replace("seq\t", "sequence\t", 1))
    with pytest.raises(DataError, match=r"in_val.txt must name its columns.*; 'seq' is not among"):
        layout.read(tmp_path)
    path.write_text(whole[: len(whole) - 30])
    with pytest.raises(DataError, match=r"in_val.txt, line 21.*must have 4 cells"):
        layout.read(tmp_path)
    path.write_text(whole.splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"in_val.txt must hold at least one sequence"):
        layout.read(tmp_path)
