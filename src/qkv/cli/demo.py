"""`qkv demo`: learn to pronounce English, and see which letters each sound came from."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import tyro

from qkv.cli.train import saying_how_to_go_on
from qkv.configfile import load_config

DESCRIPTION = """Train RNNsearch on the CMU pronouncing dictionary (letters to phonemes), measure
it on words it has not seen, transcribe a few, and draw where it looked.

The same as `qkv train`, `qkv evaluate` and `qkv translate` with the config of the demo. Started
again, it goes on from its last checkpoint, or only shows the result.
"""

SHOWN = 5  # held-out words that are transcribed on the screen
DRAWN = 200  # and on the page


@dataclass(frozen=True)
class Arguments:
    """What `qkv demo` takes."""

    out: Path = Path("runs/demo")
    """The run folder."""
    words: tuple[str, ...] = ()
    """Words to transcribe; none: some that it has not seen."""


def run(given: list[str]) -> int:
    """Train, measure, transcribe, draw."""
    arguments = tyro.cli(Arguments, prog="qkv demo", description=DESCRIPTION, args=given)
    started = time.monotonic()
    with as_file(files("qkv.cli") / "demo.toml") as path:
        config = load_config(path)
    from qkv.data import load_pairs
    from qkv.figures import figure_of, without_ends
    from qkv.measure import measure
    from qkv.run import load
    from qkv.training.loop import train
    from qkv.view import letters, save, terminal

    print(f"Training: letters to phonemes, at most {config.training.max_minutes:g} minutes.")
    with saying_how_to_go_on(arguments.out):
        train(config, arguments.out)
    trained = time.monotonic()

    loaded = load(arguments.out)
    pairs = load_pairs(loaded.config.data, "test")
    _, result = measure(loaded, pairs, ("wer", "per"))
    print(f"\n{len(pairs)} held-out words, in none of the training pairs:\n{result}\n")

    known = {pair.source: " or ".join(pair.references) for pair in pairs}
    unseen = [word for word in known if len(word) >= 8]
    words = arguments.words or unseen[:SHOWN]
    found = [outputs[0] for outputs in loaded.translate([*words, *unseen[SHOWN:DRAWN]])]
    figures = [figure_of(loaded, one) for one in found]
    for word, translation, figure in zip(words, found, figures, strict=False):
        says = f" (the dictionary: {known[word]})" if word in known else ""
        print(f"{word}: {translation.text}{says}\n  {letters(without_ends(figure))}\n")
    print(terminal(figures[0]))

    page = arguments.out / "attention.html"
    save(figures, page)
    print(f"\nThe heat maps of {len(figures)} words are a page: {page.resolve()}")
    print(f"Try your own: echo encyclopedia | qkv translate {arguments.out} --show")
    print(
        f"qkv demo: {time.monotonic() - started:.0f} s in all, "
        f"{trained - started:.0f} s of them training",
        file=sys.stderr,
    )
    return 0
