"""Dynamic batching: what waits when a model gets free is worked on together.

A text that comes to an idle model waits for nothing, others for the batch before them. If fewer
wait then than were just answered, those who ask again are waited for a moment: a batch of one
costs nearly what a full one does, and all the others would wait for it. A text whose client has
gone is left out. (Of libraries, `batched` polls, and hands results to the wrong item once one
before it was cancelled; LitServe runs the server itself, in processes of its own.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from qkv.serve.refusal import Refusal

TICK = 0.002
"""Seconds without a new text after which no more are waited for."""
SHARE = 0.25
"""Of the time that the batch before took: no longer is waited."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """One worker thread for one model, always the same: torch keeps a team of threads for each.

    work: takes some items and returns a result for each, or the exception that stands for it.
    batch: items at a time, at most. queue: items that may wait.
    seen: told the size of each batch.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result | Exception]],
        *,
        batch: int,
        queue: int,
        seen: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._work, self._batch, self._queue, self._seen = work, batch, queue, seen
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="qkv batches")

    @property
    def waiting(self) -> int:
        """Items that no batch has taken yet."""
        return len(self._waiting)

    def put(self, items: Sequence[Item]) -> list[asyncio.Future[Result]]:
        """Queue items, all or none; cancel a future and its item is left out.

        Raises:
            Refusal: they would be too many.
        """
        if self.waiting + len(items) > self._queue:
            raise Refusal(
                429,
                f"{self.waiting} requests wait already, and {len(items)} more would pass the "
                f"limit of {self._queue}; ask again later",
                self._queue,
            )
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        if self._worker is None:
            self._worker = loop.create_task(self._run())
        return futures

    async def _run(self) -> None:
        """Work until nothing waits."""
        loop = asyncio.get_running_loop()
        started, last = loop.time(), 0
        try:
            while self._waiting:
                await self._gather(last, SHARE * (loop.time() - started))
                started = loop.time()
                taken = self._take()
                if not taken:
                    continue
                last = len(taken)
                self._seen(last)
                try:
                    items = [item for item, _ in taken]
                    found = await loop.run_in_executor(self._thread, self._work, items)
                except Exception as failure:
                    found = [failure] * len(taken)
                for (_, future), result in zip(taken, found, strict=True):
                    _tell(future, result)
        finally:
            self._worker = None

    async def _gather(self, last: int, most: float) -> None:
        """Wait while more come, until there are as many as in the last batch, or for so long."""
        loop = asyncio.get_running_loop()
        end, before = loop.time() + most, 0
        while before < len(self._waiting) < last and loop.time() < end:
            before = len(self._waiting)
            await asyncio.sleep(TICK)

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        taken: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(taken) < self._batch:
            item, future = self._waiting.popleft()
            if not future.done():
                taken.append((item, future))
        return taken


def _tell(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():  # its client has gone meanwhile
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
