"""How far a verb is, once it takes its time: a bar on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


class Progress:
    """Counts lines over all chunks of the input. Silent for the first seconds of each chunk."""

    def __init__(
        self, verb: str, *, silent_seconds: float = 2.0, seconds_between_lines: float = 10.0
    ) -> None:
        self.verb, self.done, self.known = verb, 0, 0
        self.silent, self.between = silent_seconds, seconds_between_lines

    @contextmanager
    def chunk(self, lines: int) -> Iterator[Callable[[int], None]]:
        """Give what is called after each step of the search with the lines done in it."""
        self.known += lines
        if not sys.stderr.isatty():
            yield self._plain()
            return
        with tqdm(
            total=self.known,
            initial=self.done,
            unit=" lines",
            leave=False,  # what is printed next takes its place
            delay=self.silent,
            miniters=0,  # a long line moves the time on, though not the count
            dynamic_ncols=True,
        ) as bar:
            yield self._bar(bar)

    def _bar(self, bar: tqdm[None]) -> Callable[[int], None]:
        steps = 0

        def update(done: int) -> None:
            nonlocal steps
            steps += 1
            self.done += done
            bar.set_postfix_str(f"{steps:,} steps", refresh=False)
            bar.update(done)

        return update

    def _plain(self) -> Callable[[int], None]:
        steps, started = 0, time.monotonic()
        due = started + self.silent

        def update(done: int) -> None:
            nonlocal steps, due
            steps += 1
            self.done += done
            now = time.monotonic()
            if now >= due:
                due = now + self.between
                counted = f"{steps:,} step{'s' * (steps > 1)}"
                print(
                    f"qkv {self.verb}: {self.done:,} of {self.known:,} lines read are done; "
                    f"{now - started:.0f} s and {counted} with these",
                    file=sys.stderr,
                    flush=True,
                )

        return update
