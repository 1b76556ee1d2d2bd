import gzip
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.columns.base import sizes_of
from metamae.data.readers import read
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read

MOLECULES = "CCO ethanol\n[13CH4]\tcarbon 13\nF/C=C\\F\nC[N+](C)(C)C.[Cl-] salt\n"


def save(folder, text, name="a.smi"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def smiles(source, **settings):
    column = read(source, **settings)["smiles"]
    return column[np.arange(len(column))].tolist()


@pytest.mark.parametrize("name", ["a.smi", "a.smiles", "a.smi.gz"])
def test_smiles_and_names(tmp_path, name):
    raw = MOLECULES.encode()
    path = save(tmp_path, gzip.compress(raw) if name.endswith("gz") else raw, name)
    records = read(path)
    expected = ["CCO", "[13CH4]", "F/C=C\\F", "C[N+](C)(C)C.[Cl-]"]
    assert smiles(path) == expected
    assert sizes_of(records["smiles"])[:, 0].tolist() == [len(one) for one in expected]
    assert list(records.names) == ["ethanol", "carbon 13", "line 3", "salt"]
    assert records.where(1) == f"{path}, carbon 13"
    assert list(read(path, field="smiles")) == ["smiles"]
    with pytest.raises(DataError, match="field='name'"):
        read(path, field="name")


@pytest.mark.parametrize("header", ["SMILES Name", "smiles", "canonical_smiles\tid"])
def test_headers_blank_lines_and_comments_are_no_molecules(tmp_path, header):
    path = save(tmp_path, f"// salts\n# {header}\n\n{header}\nCCO\n\n  c1ccccc1  \n")
    records = read(path)
    assert smiles(path) == ["CCO", "c1ccccc1"]
    assert [records.where(i) for i in (0, 1)] == [f"{path}, line 5", f"{path}, line 7"]


def test_only_the_first_line_may_be_a_header(tmp_path):
    assert smiles(save(tmp_path, "CCO\nSMILES\n")) == ["CCO", "SMILES"]


def test_without_names_lines_are_numbered(tmp_path):
    path = save(tmp_path, "CCO\r\nC\r\n")
    assert read(path).names is None
    assert read(path).where(1) == f"{path}, line 2"
    assert smiles(path) == ["CCO", "C"]


def test_later_headers_and_illegal_characters_are_set_aside(tmp_path):
    path = save(tmp_path, "CCO\nC,C one\nC{C\nCé\n!\n#note\nN two\n")
    with pytest.raises(DataError, match=r"got 4\.(.|\n)*line 2: must begin with a SMILES") as error:
        read(path)
    assert "got ',' at position 1 of 'C,C'. A table belongs in a .csv file." in str(error.value)
    assert "line 4: must begin with a SMILES string; got 'é' at position 1 of 'Cé'" in str(
        error.value
    )
    assert smiles(path, skip_bad=4) == ["CCO", "N"]
    assert list(read(path, skip_bad=4).names) == ["line 1", "two"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one good SMILES string; got none"),
        ("SMILES\n", "got a header only"),
        ("é\n".encode("latin-1"), "line 1: must be UTF-8 text"),
        ("CC\n".encode("utf-16"), "line 1: must be (UTF-8 )?text"),
    ],
)
def test_refuses(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(save(tmp_path, text))


def test_bombs_and_cut_archives(tmp_path):
    bomb = save(tmp_path, gzip.compress(b"CCO\n" * 100_000), "a.smi.gz")
    with pytest.raises(DataError, match="must not expand beyond 1000 bytes"):
        read(bomb, max_bytes=1000)
    with pytest.raises(DataError, match="Compressed file ended"):
        read(save(tmp_path, bomb.read_bytes()[:-9], "b.smi.gz"))
    with pytest.raises(ConfigError, match=r"SmilesReader\.max_bytes must"):
        read(bomb, max_bytes="1")


@pytest.mark.parametrize("name", ["a.smi", "a.smi.gz"])
def test_damage_is_refused_or_harmless(tmp_path, name):
    raw = MOLECULES.encode()
    path = save(tmp_path, gzip.compress(raw) if name.endswith("gz") else raw, name)
    assert refuse_or_read(path) > 5


@given(raw=st.binary(max_size=40) | st.text("CN()=[]+ \n\té,", max_size=40).map(str.encode))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_refused(raw):
    with TemporaryDirectory() as folder, suppress(DataError):
        path = save(Path(folder), raw)
        assert all(one and one.isascii() and not set(one) & set(" \t,") for one in smiles(path))
