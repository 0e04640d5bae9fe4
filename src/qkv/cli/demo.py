"""`qkv demo`: learn to pronounce English, and see which letters each sound came from."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import tyro

from qkv.config import load_config

DESCRIPTION = """Train RNNsearch on the CMU pronouncing dictionary (letters to phonemes), measure it
on words it has not seen, transcribe a few, and draw where it looked.

The same as `qkv train`, `qkv evaluate` and `qkv translate` with the config of the demo. Started
again, it goes on from its last checkpoint, or only shows the result.
"""

WORDS = ("attention", "knowledge", "phonetics", "chaos", "thoughtful")


@dataclass(frozen=True)
class Arguments:
    """What `qkv demo` takes."""

    out: Path = Path("runs/demo")
    """The run folder."""
    words: tuple[str, ...] = WORDS
    """Words to transcribe."""


def run(given: list[str]) -> int:
    """Train, measure, transcribe, draw."""
    arguments = tyro.cli(Arguments, prog="qkv demo", description=DESCRIPTION, args=given)
    started = time.monotonic()
    with as_file(files("qkv.cli") / "demo.toml") as path:
        config = load_config(path)
    from qkv.cli.evaluate import measure
    from qkv.cli.figures import figure_of, figures_of
    from qkv.data import load_pairs
    from qkv.run import load
    from qkv.training.loop import train
    from qkv.view import letters, save, terminal

    print(f"Training: letters to phonemes, at most {config.training.max_minutes:g} minutes.")
    train(config, arguments.out)
    trained = time.monotonic()

    loaded = load(arguments.out)
    pairs = load_pairs(loaded.config.data, "test")
    _, result = measure(loaded, pairs, ("wer", "per"))
    print(f"\n{len(pairs)} held-out words, in none of the training pairs:\n{result}\n")

    found = [outputs[0] for outputs in loaded.translate(arguments.words)]
    figures = figures_of(loaded, found)
    for translation, figure in zip(found, figures, strict=True):
        print(f"{translation.source.text}: {translation.text}")
        print(f"  {letters(figure)}\n")
    print(terminal(figure_of(loaded, found[0])))

    more = [outputs[0] for outputs in loaded.translate(pairs.sources[:200])]
    page = arguments.out / "attention.html"
    save([*figures, *figures_of(loaded, more)], page)
    print(f"\nThe heat maps of {len(found) + len(more)} words are a page: {page.resolve()}")
    print(f"Try your own: echo encyclopedia | qkv translate {arguments.out} --show")
    print(
        f"qkv demo: {time.monotonic() - started:.0f} s in all, "
        f"{trained - started:.0f} s of them training",
        file=sys.stderr,
    )
    return 0
