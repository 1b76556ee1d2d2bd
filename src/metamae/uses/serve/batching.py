"""Samples of several requests computed together, and each request answered by itself.

An encoder takes as long for one sample as for a full micro-batch. Requests that come while it is
busy are therefore joined, a limited number of samples in a round; a long one gives way to others
after each round. Since a vector does not depend on the samples beside it, nobody can tell.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from metamae.data.records import Records

Vectors = NDArray[np.float32]
Embed = Callable[[Records, Callable[[int, int], None]], Vectors]
T = TypeVar("T")


class Abandoned(Exception):
    """Nobody waits any more for what is being computed."""


@dataclass(eq=False)
class Job:
    """The samples of a request on their way.

    Attributes:
        records: The samples.
        vectors: What the request waits for; done early if it gave up.
        parts: Vectors of the first samples.
        done: How many these are.
    """

    records: Records
    vectors: "asyncio.Future[Vectors]"
    parts: list[Vectors] = field(default_factory=list)
    done: int = 0

    @property
    def kind(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Types and shapes of the columns: only samples of one kind can stand in one column."""
        columns = sorted(self.records.columns.items())
        return [(name, column.dtype.str, column.shape[1:]) for name, column in columns]

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        if not self.vectors.done():
            self.vectors.set_exception(error)

    def add(self, vectors: Vectors) -> None:
        """Take the vectors of the next samples, and answer if they are the last."""
        self.parts.append(vectors)
        self.done += len(vectors)
        if self.done == len(self.records) and not self.vectors.done():
            self.vectors.set_result(np.concatenate(self.parts))


@dataclass(frozen=True)
class Share:
    """Samples of a job that take part in a round."""

    job: Job
    records: Records


class Merging:
    """Joins requests into rounds; all of it, but the computing, in one event loop.

    Args:
        embed: Records, and what to call now and then with the samples done and all, to vectors.
            It runs in a thread of its own, one call at a time.
        read: Raises what is wrong with samples, without computing.
        most: Samples of a round.
        wait: Seconds for which an idle encoder waits for more requests.
    """

    def __init__(self, embed: Embed, read: Callable[[Records], None], *, most: int, wait: float):
        self.embed_now, self.read, self.most, self.wait = embed, read, most, wait
        self.jobs: deque[Job] = deque()
        self.task: asyncio.Task[None] | None = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="metamae-serving")

    async def embed(self, records: Records) -> Vectors:
        """Embed the samples of one request; whoever is cancelled here leaves the queue.

        Raises:
            Exception: What `embed` raised of these samples, those of other requests apart.
        """
        job = Job(records, asyncio.get_running_loop().create_future())
        self.jobs.append(job)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._work())
        return await job.vectors

    async def _work(self) -> None:
        """Compute rounds until no request is left."""
        await asyncio.sleep(self.wait)
        while shares := self._round():
            await self._compute(shares)
            # What is left of a long request comes after those that waited meanwhile.
            self.jobs.extend(dict.fromkeys(share.job for share in shares))

    def _round(self) -> list[Share]:
        """Take samples from the front of the queue, of one kind and at most so many."""
        waiting = [job for job in self.jobs if not job.vectors.done()]
        shares: list[Share] = []
        room = self.most
        for job in waiting:
            if room and job.kind == waiting[0].kind:
                stop = min(len(job.records), job.done + room)
                room -= stop - job.done
                shares.append(Share(job, job.records.subset(np.arange(job.done, stop))))
        taken = {id(share.job) for share in shares}
        self.jobs = deque(job for job in waiting if id(job) not in taken)
        return shares

    async def _compute(self, shares: list[Share]) -> None:
        """Embed some shares together; if that fails, find out which of them are to blame."""

        def progress(done: int, total: int) -> None:
            if all(share.job.vectors.done() for share in shares):
                raise Abandoned

        try:
            vectors = await self._in_thread(
                lambda: self.embed_now(join([share.records for share in shares]), progress)
            )
        except Exception as error:
            if len(shares) == 1:
                shares[0].job.fail(error)
            else:
                await self._apart(shares)
            return
        ends = np.cumsum([len(share.records) for share in shares])
        for share, own in zip(shares, np.split(vectors, ends[:-1]), strict=True):
            share.job.add(own)

    async def _apart(self, shares: list[Share]) -> None:
        """Let those that cannot be read fail; embed the others, if need be one by one."""
        sound = []
        for share in shares:
            if share.job.vectors.done():
                continue
            try:
                await self._in_thread(lambda own=share.records: self.read(own))  # type: ignore[misc]
            except Exception as error:
                share.job.fail(error)
            else:
                sound.append(share)
        groups = [sound] if len(sound) < len(shares) else [[share] for share in sound]
        for group in groups:
            if group:
                await self._compute(group)

    async def _in_thread(self, do: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, do)


def join(some: list[Records]) -> Records:
    """Put samples of one kind one behind the other."""
    if len(some) == 1:
        return some[0]
    columns: dict[str, Any] = {
        name: np.concatenate([one[name][np.arange(len(one))] for one in some]) for name in some[0]
    }
    return Records(columns, some[0].source)
