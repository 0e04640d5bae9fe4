"""How far a gradient reaches, in models with and without attention: docs/saliency/distance.*

    python benchmarks/vanishing.py --runs runs/vanishing

The task: read 5 to 40 digits, write the first three. So the first output needs the token that is
farthest away. Each model is trained for the same updates (about a minute each on one core; killed,
it goes on), and asked before and after: the norm of d features_1 / d x_j, the mean over sequences
of 40 digits, by the number of steps between reading x_j and writing the first digit
(`qkv.explain.gradient_by_distance`). Writes the figure, the numbers as JSON, and the table in
docs/saliency.md.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

import qkv
from qkv.configfile import make_config
from qkv.data.randomness import generator
from qkv.explain import gradient_by_distance
from qkv.models.build import build_model
from qkv.run import Run
from qkv.training.loop import train

SHORT, LONG, ASKED, SEQUENCES = 5, 40, 3, 20
COUNTS = {"train": 20_000, "dev": 200}
UPDATES = 800
SMALL: dict[str, Any] = {"embedding": 32, "hidden": 64, "dropout": 0.0}
ONE_WAY = SMALL | {"kind": "rnnenc", "bidirectional": False}
MODELS: dict[str, dict[str, Any]] = {
    "RNN": ONE_WAY | {"cell": "rnn"},
    "GRU": ONE_WAY | {"cell": "gru"},
    "LSTM": ONE_WAY | {"cell": "lstm"},
    "LSTM with attention": SMALL | {"kind": "luong", "layers": 1},
    "RNNsearch": SMALL | {"kind": "rnnsearch", "maxout": 32},
    "Transformer": {
        "kind": "transformer",
        "width": 64,
        "heads": 4,
        "feedforward": 128,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "dropout": 0.0,
    },
}
COLOURS = ("#999999", "#e69f00", "#d55e00", "#0072b2", "#009e73", "#cc79a7")  # Okabe and Ito
DOCS = Path(__file__).resolve().parent.parent / "docs"
NUMBERS = DOCS / "saliency" / "distance.json"
STATES = ("untrained", "trained")
SHOWN = (1, 5, 10, 20, 40)
START, STOP = "<!-- distance: written by benchmarks/vanishing.py -->", "<!-- end of distance -->"


def write_pairs(folder: Path) -> None:
    """Write train.tsv and dev.tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in COUNTS.items():
        random = generator(1, "first digits", split)
        lines = []
        for _ in range(count):
            digits = random.integers(0, 10, size=int(random.integers(SHORT, LONG, endpoint=True)))
            words = list(map(str, digits.tolist()))
            lines.append(f"{' '.join(words)}\t{' '.join(words[:ASKED])}\n")
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")


def config(folder: Path, model: dict[str, Any], updates: int) -> Any:
    """Return what trains a model on these pairs."""
    return make_config({
        "data": {
            "train": [str(folder / "train.tsv")],
            "dev": [str(folder / "dev.tsv")],
            "tokens_per_batch": 1500,
        },
        "text": {side: {"kind": "words"} for side in ("source", "target")},
        "model": model,
        "training": {
            "max_steps": updates,
            "learning_rate": 3e-3,
            "schedule": "linear",
            "warmup": 100,
            "label_smoothing": 0.0,
            "average": 1,
            "checkpoint_every": 250,
            "threads": 1,
        },
        "search": {"method": "greedy"},
    })  # fmt: skip


def untrained(run: Run) -> torch.nn.Module:
    """Return such a model as a training would start it."""
    torch.manual_seed(run.config.training.seed)
    sizes = len(run.source.vocabulary), len(run.target.vocabulary)
    return build_model(run.config.model, *sizes).eval()


def reach(run: Run, model: Any) -> list[float]:
    """Return the mean norm at each distance, 0 first (the end symbol)."""
    random = generator(1, "first digits", "asked")
    digits = random.integers(0, 10, size=(SEQUENCES, LONG)).tolist()
    sources = [run.source.ids(" ".join(map(str, one))) for one in digits]
    targets = [run.target.ids(" ".join(map(str, one[:ASKED]))) for one in digits]
    return gradient_by_distance(model, sources, targets, outputs=[0]).tolist()


def right(run: Run, folder: Path) -> float:
    """Return the share of the dev set that is written without a mistake."""
    lines = (folder / "dev.tsv").read_text(encoding="utf-8").splitlines()
    sources, targets = zip(*(line.split("\t") for line in lines), strict=True)
    found = run.translate(sources)
    same = [best.text == want for (best,), want in zip(found, targets, strict=True)]
    return sum(same) / len(same)


def decay(norms: list[float]) -> float:
    """Return what one step more multiplies the norm by: a line through its logarithms.

    The last ten are left out: there stands what the first output is made of.
    """
    kept = [(k, math.log(n)) for k, n in enumerate(norms[: LONG - 9]) if k > 0 and n > 0]
    return math.exp(np.polyfit(*zip(*kept, strict=True), 1)[0])


def table(found: dict[str, Any]) -> str:
    """Return the norms as a table in Markdown."""
    heads = ["model", "right", "", "a step", *(f"k = {k}" for k in SHOWN)]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name, one in found["models"].items():
        for state in ("untrained", "trained"):
            norms = one[state]
            label = [name, f"{one['right']:.0%}"] if state == "trained" else [name, ""]
            cells = [f"{norms[k]:.2g}" for k in SHOWN]
            lines.append(f"| {' | '.join([*label, state, f'x {decay(norms):.2f}', *cells])} |")
    return "\n".join(lines)


def figure(found: dict[str, Any]) -> str:
    """Draw both states: the norm on a logarithmic scale over the distance."""
    names = list(found["models"])
    values = [n for one in found["models"].values() for s in STATES for n in one[s] if n > 0]
    low, high = math.floor(max(math.log10(min(values)), -16)), math.ceil(math.log10(max(values)))
    parts = []
    for panel, state in enumerate(STATES):
        parts += [f'<g transform="translate({60 + panel * 350} 40)">', *axes(state, low, high)]
        for name, colour in zip(names, COLOURS, strict=True):
            points = " ".join(
                f"{300 * k / LONG:.1f},{height(norm, low, high):.1f}"
                for k, norm in enumerate(found["models"][name][state])
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2">'
                f"<title>{name}, {state}</title></polyline>"
            )
        parts.append("</g>")
    for row, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        x, y = 60 + row % 3 * 230, 324 + row // 3 * 20
        parts.append(f'<rect x="{x}" y="{y - 9}" width="18" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 24}" y="{y - 3}">{name}</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="740" height="356" viewBox="0 0 740 356" '
        'role="img" font-family="sans-serif" font-size="12" fill="#1c2128">'
        "<title>Gradient norm by distance, untrained and trained</title>"
        f'<rect width="740" height="356" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def height(norm: float, low: int, high: int) -> float:
    """Return where a norm stands, 0 at the top of the panel."""
    share = (math.log10(max(norm, 10.0**low)) - low) / (high - low)
    return 220 * (1 - share)


def axes(state: str, low: int, high: int) -> list[str]:
    """Draw the frame of a panel, with powers of ten and distances."""
    lines = [f'<text x="0" y="-14" font-weight="600">{state}</text>']
    for power in range(low, high + 1, max(1, (high - low) // 6)):
        y = height(10.0**power, low, high)
        lines.append(f'<path d="M0 {y:.1f}h300" stroke="#e3e6ea"/>')
        lines.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>')
    for k in range(0, LONG + 1, 10):
        lines.append(f'<text x="{300 * k / LONG:.0f}" y="236" text-anchor="middle">{k}</text>')
    lines.append('<text x="150" y="254" text-anchor="middle">steps between the two</text>')
    return lines


def main() -> None:
    """Measure, unless the numbers are there, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/vanishing"))
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--draw", action="store_true", help="from the numbers that are there")
    arguments = parser.parse_args()
    if not arguments.draw:
        NUMBERS.parent.mkdir(exist_ok=True)
        found = measure(arguments.runs, arguments.updates)
        NUMBERS.write_text(json.dumps(found) + "\n", encoding="utf-8")
    draw(json.loads(NUMBERS.read_text(encoding="utf-8")))


def measure(folder: Path, updates: int) -> dict[str, Any]:
    """Train what is not trained, and ask each model before and after."""
    if not (folder / "dev.tsv").exists():
        write_pairs(folder)
    found: dict[str, Any] = {"updates": updates, "models": {}}
    for name, model in MODELS.items():
        place = folder / name.replace(" ", "-").lower()
        train(config(folder, model, updates), place, quiet=True)
        run = qkv.load(place)
        found["models"][name] = {
            "right": right(run, folder),
            "untrained": reach(run, untrained(run)),
            "trained": reach(run, run.model),
        }
        print(table({"models": {name: found["models"][name]}}).splitlines()[-1], flush=True)
    return found


def draw(found: dict[str, Any]) -> None:
    """Write the figure, and the table into the page."""
    NUMBERS.with_suffix(".svg").write_text(figure(found), encoding="utf-8")
    page = DOCS / "saliency.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    after = rest.partition(STOP)[2]
    page.write_text(f"{before}{START}\n{table(found)}\n{STOP}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
