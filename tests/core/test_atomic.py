import os
import stat

import pytest

from metamae.core.atomic import write_atomically, write_text_atomically
from metamae.errors import ArtifactError


def test_a_file_is_made_and_replaced(tmp_path):
    path = tmp_path / "a.txt"
    write_text_atomically(path, "old")
    write_text_atomically(path, "new, ä漢")
    assert path.read_text(encoding="utf-8") == "new, ä漢"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent

    write_atomically(path, write)
    assert path.read_text() == "half"


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("bug")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise error

    expected = ArtifactError if isinstance(error, OSError) else RuntimeError
    with pytest.raises(expected, match=str(error)):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_message_names_the_file_and_a_remedy(tmp_path):
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(ArtifactError, match=r"a\.txt must be writable; got: .*Free some space or"):
        write_text_atomically(path, "text")


def test_the_file_is_as_open_as_others(tmp_path):
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    write_text_atomically(path, "text")
    other.write_text("text")
    assert stat.S_IMODE(os.stat(path).st_mode) == stat.S_IMODE(os.stat(other).st_mode)  # noqa: PTH116
