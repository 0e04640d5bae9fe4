"""A process that works when it is told to, and tells what it did: how programs alternate.

Programs that cannot share a process (a peer and we) are started once, and then asked in turn, A B
A B, over their standard input: a line of JSON a request, a line of JSON an answer. Starting up is
never measured, and only one works at a time. The standard library alone: peers import this too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator


class Gate:
    """The side that works. What libraries print goes to the standard error from here on."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def tell(self, **facts: object) -> None:
        """Answer."""
        print(json.dumps(facts), file=self._out, flush=True)

    def requests(self) -> Iterator[dict]:
        """Give what is asked until nobody asks; then leave without saving a thing."""
        for line in sys.stdin:
            yield json.loads(line)
        os._exit(0)

    def windows(self, batches: Iterable, tokens: Callable[[object], int]) -> Iterator:
        """Give batches while a window of some seconds is open, and count the tokens trained on.

        A batch is counted when the next one is asked for: its update is done by then.
        """
        batches = iter(batches)
        for request in self.requests():
            begin, spent, done, steps = time.perf_counter(), time.process_time(), 0, 0
            while time.perf_counter() - begin < request["seconds"]:
                batch = next(batches)
                yield batch
                done, steps = done + tokens(batch), steps + 1
            self.tell(
                tokens=done,
                steps=steps,
                seconds=time.perf_counter() - begin,
                processor=time.process_time() - spent,
            )
        os._exit(0)

    def calls(self, translate: Callable[[list[str], int, int, int], list[list[str]]]) -> None:
        """Answer requests to translate: sentences, batch, beam, length -> tokens a sentence."""
        for asked in self.requests():
            begin, spent = time.perf_counter(), time.process_time()
            out = translate(asked["sentences"], asked["batch"], asked["beam"], asked["length"])
            taken, processor = time.perf_counter() - begin, time.process_time() - spent
            lengths = [len(tokens) for tokens in out]
            self.tell(
                sentences=len(out), tokens=sum(lengths), seconds=taken, processor=processor,
                shortest=min(lengths), longest=max(lengths), first=out[:3],
            )  # fmt: skip
