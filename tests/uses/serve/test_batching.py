"""Requests computed together, with an encoder that a test holds up as long as it likes."""

import asyncio
import threading

import numpy as np
import pytest

from metamae import DataError
from metamae.data.records import Records
from metamae.uses.serve.batching import Merging


def records(*values, field="X"):
    return Records({field: np.array(values)}, "the request")


class Encoder:
    """Doubles numbers; refuses negative ones, and knows what it was called with."""

    def __init__(self):
        self.calls, self.begun, self.go = [], threading.Event(), threading.Event()
        self.go.set()
        self.most = 1000

    def embed(self, given, progress):
        values = given["X"][np.arange(len(given))]
        self.calls.append(values.tolist())
        self.begun.set()
        while not self.go.wait(0.01):
            progress(0, len(given))
        if len(values) > self.most:
            raise RuntimeError("too many")
        self.read(given)
        return np.stack([2 * values], axis=1).astype(np.float32)

    def read(self, given):
        values = given["X"][np.arange(len(given))]
        if values.dtype.kind in "if" and (values < 0).any():
            raise given.error(int((values < 0).argmax()), "must not be negative")

    def merging(self, *, most=100, wait=0.0):
        return Merging(self.embed, self.read, most=most, wait=wait)


async def held(encoder, merging):
    """Begin a request that the encoder is busy with until `encoder.go` is set."""
    encoder.go.clear()
    first = asyncio.create_task(merging.embed(records(100.0)))
    assert await asyncio.to_thread(encoder.begun.wait, 10)
    return first


async def together(encoder, merging, *requests):
    """Send requests while the encoder is busy; return what each got, vectors or an error."""
    first = await held(encoder, merging)
    tasks = [asyncio.create_task(merging.embed(request)) for request in requests]
    await asyncio.sleep(0)
    encoder.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert (await first).tolist() == [[200]]
    return [one.ravel().tolist() if isinstance(one, np.ndarray) else one for one in found]


def test_what_comes_while_the_encoder_is_busy_is_computed_together():
    encoder = Encoder()
    found = asyncio.run(
        together(encoder, encoder.merging(), records(1.0, 2.0), records(3.0), records(4.0))
    )
    assert found == [[2, 4], [6], [8]]
    assert encoder.calls == [[100], [1, 2, 3, 4]]


def test_an_idle_encoder_waits_a_moment_for_more():
    encoder = Encoder()

    async def three():
        merging = encoder.merging(wait=0.2)
        first = asyncio.create_task(merging.embed(records(1.0)))
        await asyncio.sleep(0.01)
        return await asyncio.gather(first, merging.embed(records(2.0)), merging.embed(records(3.0)))

    assert [one.tolist() for one in asyncio.run(three())] == [[[2]], [[4]], [[6]]]
    assert encoder.calls == [[1, 2, 3]]


def test_a_long_request_gives_way_after_each_round():
    encoder = Encoder()
    long = records(*np.arange(10.0))
    found = asyncio.run(together(encoder, encoder.merging(most=4), long, records(70.0)))
    assert found == [[2.0 * n for n in range(10)], [140]]
    assert encoder.calls == [[100], [0, 1, 2, 3], [70, 4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_bad_sample_fails_its_own_request_only(bad):
    encoder = Encoder()
    requests = [records(1.0, 2.0), records(3.0, 4.0), records(5.0, 6.0)]
    requests[bad] = records(7.0, -8.0)
    found = asyncio.run(together(encoder, encoder.merging(), *requests))
    error = found.pop(bad)
    assert isinstance(error, DataError)
    assert str(error) == "the request, sample 1: must not be negative"
    assert found == [[2 * v for v in r["X"]] for n, r in enumerate(requests) if n != bad]
    assert len(encoder.calls) == 3  # the sound ones once more, and together


def test_the_sample_to_blame_is_counted_in_its_own_request():
    encoder = Encoder()
    values = np.arange(10.0)
    values[7] = -1
    (error,) = asyncio.run(together(encoder, encoder.merging(most=3), Records({"X": values}, "r")))
    assert str(error).startswith("r, sample 7:")


def test_what_only_fails_together_is_computed_one_by_one():
    encoder = Encoder()
    encoder.most = 2
    requests = [records(1.0, 2.0), records(3.0), records(4.0, 5.0, 6.0)]
    *sound, failed = asyncio.run(together(encoder, encoder.merging(), *requests))
    assert sound == [[2, 4], [6]]
    assert isinstance(failed, RuntimeError)


def test_samples_of_another_type_or_shape_are_computed_apart():
    encoder = Encoder()
    requests = [records(1.0), records(2), records(3.0), records(4)]
    found = asyncio.run(together(encoder, encoder.merging(), *requests))
    assert found == [[2], [4], [6], [8]]
    assert encoder.calls == [[100], [1, 3], [2, 4]]


def test_who_gives_up_leaves_the_queue_and_holds_nobody_up():
    encoder = Encoder()

    async def scene():
        merging = encoder.merging()
        first = await held(encoder, merging)
        tasks = [asyncio.create_task(merging.embed(records(n))) for n in (1.0, 2.0)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        # Nobody waits for what is being computed: it stops, although it could go on for ever.
        first.cancel()
        while len(encoder.calls) < 2:
            await asyncio.sleep(0.01)
        encoder.go.set()
        return await tasks[1]

    assert asyncio.run(asyncio.wait_for(scene(), 30)).tolist() == [[4]]
    assert encoder.calls == [[100], [2]]


def test_the_queue_is_at_work_again_after_a_rest_and_in_another_loop():
    encoder = Encoder()
    merging = encoder.merging()

    async def twice():
        return [(await merging.embed(records(n))).item() for n in (1.0, 2.0)]

    assert asyncio.run(twice()) == asyncio.run(twice()) == [2, 4]
