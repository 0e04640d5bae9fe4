"""What a run says while it works: a bar or plain lines, JSON lines, TensorBoard."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from tqdm import tqdm

from qkv.files import write_atomically


class Writer(Protocol):
    """Takes named numbers at a step."""

    def write(self, record: dict[str, Any]) -> None:
        """Keep a record."""


class JsonLines:
    """One JSON object a line; appended, so that a resumed run goes on in the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, record: dict[str, Any]) -> None:
        """Append a record."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def cut_after(self, step: int) -> None:
        """Drop what will be written again, so that nothing stands twice.

        That is what a killed run wrote after its last checkpoint, and what a finished one wrote at
        its end.
        """
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # the half line of a killed run
            if record["step"] <= step and "weights" not in record:
                kept.append(line + "\n")
        write_atomically(self.path, "".join(kept).encode())


class TensorBoard:
    """TensorBoard events; an extra."""

    def __init__(self, folder: Path, step: int) -> None:
        """Write to a folder; TensorBoard is to hide what stands there of later steps."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                "training.tensorboard = true needs TensorBoard: pip install 'qkv[tensorboard]'"
            ) from error
        self.events = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, record: dict[str, Any]) -> None:
        """Write each number of a record under its name."""
        for name, value in record.items():
            if isinstance(value, int | float) and name != "step":
                self.events.add_scalar(name, value, record["step"])
        self.events.flush()


class Reporter:
    """A progress bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, *, speaks: bool, seconds_between_lines: float = 10.0) -> None:
        self.speaks = speaks
        self.on_terminal = sys.stderr.isatty()
        self.seconds = seconds_between_lines
        self.last = 0.0
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        """Open the bar, where there is a terminal to hold it."""
        if self.speaks and self.on_terminal:
            layout = "{percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} to go {postfix}"
            self.bar = tqdm(total=1.0, bar_format=layout, leave=False, dynamic_ncols=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self.speaks:
            tqdm.write(line, file=sys.stderr)

    def update(self, share: float, elapsed: float, facts: str) -> None:
        """Show how far the run is: the share that is done, in 0..1, and some facts."""
        if self.bar is not None:
            self.bar.set_postfix_str(facts, refresh=False)
            self.bar.update(max(0.0, share - self.bar.n))
        elif self.speaks and time.monotonic() - self.last > self.seconds:
            self.last = time.monotonic()
            # Of less than a hundredth nobody can tell how long the rest takes.
            to_go = f", {elapsed * (1 - share) / share:.0f} s to go" if share >= 0.01 else ""
            self.say(f"{share:4.0%}  {elapsed:.0f} s gone{to_go}  {facts}")
