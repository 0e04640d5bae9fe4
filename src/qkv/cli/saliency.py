"""`qkv saliency RUN`: which source tokens each output token hangs on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from qkv.cli.errors import UsageError
from qkv.cli.lines import STDIN, chunks, name_of, read_lines
from qkv.cli.progress import Progress

if TYPE_CHECKING:
    from qkv.explain import Saliency
    from qkv.run import Run
    from qkv.view.pack import Shown

DESCRIPTION = """Say how much each output token hangs on each source token, attention apart.

Each line is a source, which is translated (classified, tagged) first, or a source, a tab and a
target. Empty lines are left out. Without --output, one JSON object a pair and method goes to
standard output: the values with their signs, and their magnitudes as shares of each row. A page,
.html, has the attention (of a model that has one) and each method of each pair; its view "side by
side" lays one over another and shows the difference.

gradient: ||d log p(y_i) / d x_j||. gradient-input: x_j . gradient. integrated-gradients: the same
along the path from pads, which adds up; says by how much it does not. jacobian: of the features.
leave-one-out: what log p(y_i) loses when token j is a pad. rollout, flow: attention through all
layers (Abnar and Zuidema 2020).
"""

SUFFIXES = (".html", ".svg", ".png", ".json")


@dataclass(frozen=True)
class Arguments:
    """What `qkv saliency` takes."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    input: Path = STDIN
    """Sources, or pairs; - is standard input."""
    method: tuple[
        Literal[
            "gradient",
            "gradient-input",
            "integrated-gradients",
            "jacobian",
            "leave-one-out",
            "rollout",
            "flow",
        ],
        ...,
    ] = ("gradient",)
    """One or several, with blanks between."""
    output: Path | None = None
    """A page (.html), pictures (.svg, .png), or JSON lines (.json)."""


def run(words: list[str]) -> int:
    """Explain."""
    arguments = tyro.cli(Arguments, prog="qkv saliency", description=DESCRIPTION, args=words)
    check_output(arguments.output)
    from qkv.run import load

    loaded = load(arguments.run)
    kept: list[tuple[Shown | None, list[Saliency]]] = []
    count = 0
    for figure, found in explained(loaded, arguments):
        count += 1
        if arguments.output is None:
            for one in found:
                print(json.dumps(one.json(), ensure_ascii=False), flush=True)
        else:
            kept.append((figure, found))
    if not count:
        raise ValueError(f"{name_of(arguments.input)} holds no line with text")
    if arguments.output is not None:
        write(loaded, kept, arguments.output)
    return 0


def check_output(path: Path | None) -> None:
    """Refuse a file that cannot be written, before the work is done.

    Raises:
        UsageError: its suffix is none of those, or its folder is not there.
    """
    if path is None:
        return
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--output {path}: its name must end in one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")


def explained(run: Run, arguments: Arguments) -> Iterator[tuple[Shown | None, list[Saliency]]]:
    """Give the attention of each pair of the input, and what each method says of it."""
    from qkv.explain import saliency

    progress = Progress("saliency")
    lines = (line for line in read_lines(arguments.input) if line.strip())
    before = 0
    for chunk in chunks(lines, arguments.input):
        with progress.chunk(len(chunk)) as update:
            for number, line in enumerate(chunk, start=before + 1):
                source, *given = columns(line, number, arguments.input)
                target, figure = ASKED[run.network.predicts](run, source, given)
                yield figure, [saliency(run, [source], [target], m)[0] for m in arguments.method]
                update(1)
        before += len(chunk)


def columns(line: str, number: int, path: Path) -> list[str]:
    """Return source, or source and target.

    Raises:
        ValueError: the line has more than one tab.
    """
    found = line.split("\t")
    if len(found) > 2:
        raise ValueError(
            f"{name_of(path)}, line {number} of those with text: {len(found)} columns; "
            "a line is a source, or source, tab, target"
        )
    return found


def ask_sequence(
    run: Run, source: str, given: list[str]
) -> tuple[str | Sequence[int], Shown | None]:
    """Return the target, or what the model makes of the source; and where it looks."""
    from qkv.figures import alignment_of

    pair = run.force([source], given)[0] if given else run.translate([source])[0][0]
    return pair.ids, alignment_of(run, pair) if run.model.attends else None


def ask_label(run: Run, source: str, given: list[str]) -> tuple[str, Shown]:
    """Return the label, or that which the model gives; and where it looks."""
    from qkv.figures import label_figure

    found = run.classify([source])[0]
    return (given or [found.label])[0], label_figure(run, found)


def ask_tags(run: Run, source: str, given: list[str]) -> tuple[str, Shown]:
    """Return the labels, or those which the model gives; and where each word looks."""
    from qkv.figures import tag_figure

    found = run.tag([source])[0]
    return (given or [found.text])[0], tag_figure(run, found)


ASKED: dict[str, Callable[..., tuple[str | Sequence[int], Shown | None]]] = {
    "sequence": ask_sequence,
    "label": ask_label,
    "tags": ask_tags,
}
"""By what the model predicts."""


def write(run: Run, kept: list[tuple[Shown | None, list[Saliency]]], path: Path) -> None:
    """Write what was found, as the suffix says, and say where."""
    from qkv.figures import saliency_map
    from qkv.files import write_atomically
    from qkv.view import save

    written = [path]
    if path.suffix == ".json":
        lines = [json.dumps(one.json(), ensure_ascii=False) for _, found in kept for one in found]
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
    else:
        shown: list[Shown] = []
        for figure, found in kept:
            shown += [] if figure is None else [figure]
            shown += [saliency_map(run, one) for one in found]
        written = save(shown, path)
    for one in written:
        print(f"qkv saliency: wrote {one}", file=sys.stderr)
