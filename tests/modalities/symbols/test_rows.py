"""Texts and codes are read in bounded parts, and pieces are cut from encoded texts."""

import multiprocessing

import numpy as np
import pytest

from cases import objects
from metamae.data.records import Records
from metamae.errors import DataError
from metamae.modalities.symbols import rows as module
from metamae.modalities.symbols.rows import Encoded, Excerpts, Pieces, chunks, elements, read_rows


def excerpts(rows, **settings):
    return Excerpts(
        Records({"X": objects(rows)}, "list"), "X", np.random.default_rng(0), **settings
    )


def test_all_is_read_where_it_fits():
    rows = ["a" * n for n in range(1, 9)]
    found = excerpts(rows)
    assert found.text
    assert [row for part in found for row in part] == rows
    assert not excerpts([np.arange(3), np.arange(2)]).text


def test_no_more_is_read_than_asked_for(monkeypatch):
    monkeypatch.setattr(module, "MOST_OF_ONE", 10)
    monkeypatch.setattr(module, "CHUNK", 16)
    rows = [chr(97 + n) * (4 if n % 2 else 40) for n in range(20)]
    found = excerpts(rows, most=70)
    parts = list(found)
    assert all(sum(map(len, part)) <= 16 for part in parts)
    flat = [row for part in parts for row in part]
    assert 50 < sum(map(len, flat)) <= 70
    assert all(len(row) in (4, 10) and row in rows[ord(row[0]) - 97] for row in flat)
    assert [row for part in found for row in part] == flat  # a second turn reads the same


def test_parts_of_long_texts_come_from_anywhere(monkeypatch):
    monkeypatch.setattr(module, "MOST_OF_ONE", 3)
    text = "".join(map(chr, range(200, 400)))
    starts = {
        next(iter(Excerpts(Records({"X": objects([text] * 2)}, "list"), "X", rng)))[0]
        for rng in map(np.random.default_rng, range(10))
    }
    assert len(starts) > 5
    assert all(part in text and len(part) == 3 for part in starts)


@pytest.mark.parametrize("spoiled", [None, 5, np.array([1]), b"a"])
def test_what_is_no_text_is_named(spoiled, monkeypatch):
    monkeypatch.setattr(module, "MOST_OF_ONE", 3)
    for text in ("abc", "abcdef"):  # read as a whole, and in part
        rows = [text, text, spoiled, text]
        with pytest.raises(DataError, match=r"list, sample 2: field 'X' must hold text") as caught:
            list(excerpts(rows))
        assert caught.value.sample == 2
    with pytest.raises(DataError, match=r"sample 1: .*must hold integer codes; got 'a'"):
        read_rows(Records({"X": objects(["b", "a"])}, "list"), "X", np.array([1]), text=False)


def test_chunks_cover_everything_in_order(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)
    monkeypatch.setattr(module, "CHUNK_ROWS", 4)
    sizes = np.array([3, 3, 3, 3, 0, 0, 0, 0, 0, 25, 1, 9, 2])
    found = list(chunks(sizes))
    assert np.concatenate(found).tolist() == list(range(13))
    assert all(0 < len(index) <= 4 for index in found)
    assert all(len(index) == 1 or sizes[index[:-1]].sum() <= 10 for index in found)


def pieces(lengths, encode, window=4):
    owner = np.repeat(np.arange(len(lengths)), [max(1, -(-n // window)) for n in lengths])
    start = np.concatenate([np.arange(0, max(1, n), window) for n in lengths])
    stop = np.minimum(start + window, np.array(lengths)[owner])
    return Pieces(len(lengths), encode, owner, start, stop)


class Counting:
    """Encodes text n, of a given length, as its number in every place; counts how often."""

    def __init__(self, lengths):
        self.lengths, self.calls = lengths, [0] * len(lengths)

    def __call__(self, position):
        self.calls[position] += 1
        length = self.lengths[position]
        return None if length == 0 else np.full(length, position)


def test_pieces_are_cut_from_encoded_texts():
    encode = Counting([10, 0, 3])
    column = pieces(encode.lengths, encode)
    found = column[np.arange(len(column))]
    assert [None if piece is None else piece.ids.tolist() for piece in found] == [
        [0] * 4,
        [0] * 4,
        [0] * 2,
        None,
        [2] * 3,
    ]
    assert column.sizes.tolist() == [[4], [4], [2], [0], [3]]
    assert isinstance(column[0], Encoded)
    assert encode.calls == [1, 1, 1]
    assert elements(column).tolist() == [4, 4, 2, 0, 3]
    assert column.blocks is None


def test_texts_are_kept_as_long_as_there_is_room(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 20)
    encode = Counting([8] * 6)
    column = pieces(encode.lengths, encode)
    column[np.arange(4)]
    column[np.arange(4)]
    assert encode.calls[:2] == [1, 1]
    column[np.arange(12)]
    column[np.array([11, 10, 8])]
    assert encode.calls == [1, 1, 1, 1, 1, 1]
    column[np.array([0])]
    assert encode.calls[0] == 2
    assert sum(len(ids) for ids in column._kept.values()) == column._num_kept <= 20


def test_the_texts_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 20)
    encode = Counting([8] * 3)
    column = pieces(encode.lengths, encode)
    for text in (0, 1, 0, 2, 0):
        column[np.array([2 * text])]
    assert encode.calls == [1, 1, 1]


def test_a_text_longer_than_the_room_is_kept_alone(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 20)
    encode = Counting([40, 40])
    column = pieces(encode.lengths, encode)
    column[np.arange(10)]
    assert encode.calls == [1, 0]


def test_training_takes_texts_in_blocks_where_not_all_are_kept(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 100)
    lengths = [8] * 20
    column = pieces(lengths, Counting(lengths))
    assert column.blocks[0] == 0 and column.blocks[-1] == len(column) == 40
    assert (np.diff(column.blocks) > 0).all()
    # A block never divides a text, and ten of them fit.
    assert set(column.blocks.tolist()) <= set(range(0, 41, 2))
    assert np.diff(column.blocks).max() * 4 <= 20


def _first(column, queue):
    queue.put(column[0].ids.tolist())


def test_a_forked_process_does_not_wait_for_the_lock_of_its_parent():
    column = pieces([6], Counting([6]))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with column._lock:
        process = context.Process(target=_first, args=(column, queue), daemon=True)
        process.start()
        try:
            assert queue.get(timeout=20) == [0] * 4
        finally:
            process.kill()
            process.join()
