"""Statistical word aligners of sil-thot: FastAlign, HMM and Eflomal, without gold links.

    PEER/bin/python benchmarks/peers/statistical.py MODEL TRAIN TEST forward|backward > links.json

MODEL is FastAlign, HMM or Eflomal; TRAIN and TEST are TSVs, `source<TAB>target`. The model is
trained on the text of both and aligns TEST; where both are one file, it is read once. Links are
written source first in both directions.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from thot.alignment import (
    AlignmentModel,
    EflomalAlignmentModel,
    FastAlignModel,
    HmmAlignmentModel,
    Ibm1AlignmentModel,
)

ITERATIONS = 5
Texts = tuple[list[str], list[str]]


def read(file: str) -> list[Texts]:
    """Return the words of both sides of each line."""
    lines = Path(file).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [tuple(side.split() for side in line.split("\t")) for line in lines]


def trained(model: AlignmentModel, pairs: Sequence[Texts], iterations: int = 0) -> AlignmentModel:
    """Train a model on pairs."""
    for source, target in pairs:
        model.add_sentence_pair(source, target)
    return iterated(model, iterations)


def iterated(model: AlignmentModel, iterations: int = 0) -> AlignmentModel:
    """Pass over the pairs that a model has, as often as it asks for itself if 0 is given."""
    model.start_training()
    for _ in range(iterations or model.scheduled_iterations):
        model.train()
    model.end_training()
    return model


def fast_align(pairs: Sequence[Texts]) -> AlignmentModel:
    """FastAlign (Dyer, Chahuneau and Smith 2013)."""
    return trained(FastAlignModel(), pairs, ITERATIONS)


def hmm(pairs: Sequence[Texts]) -> AlignmentModel:
    """IBM 1, then the HMM (Vogel, Ney and Tillmann 1996) from it."""
    return iterated(
        HmmAlignmentModel(trained(Ibm1AlignmentModel(), pairs, ITERATIONS)), ITERATIONS
    )


def eflomal(pairs: Sequence[Texts]) -> AlignmentModel:
    """Eflomal (Ostling and Tiedemann 2016): Gibbs sampling, its own number of iterations."""
    model = EflomalAlignmentModel()
    model.seed = 1
    return trained(model, pairs)


MODELS = {"FastAlign": fast_align, "HMM": hmm, "Eflomal": eflomal}


def main() -> None:
    """Align in one direction by one model."""
    name, train, test, direction = sys.argv[1:]
    start, turned = time.process_time(), direction == "backward"
    pairs, asked = [] if train == test else read(train), read(test)
    texts = [(b, a) if turned else (a, b) for a, b in pairs + asked]
    model = MODELS[name](texts)
    links = []
    for source, target in texts[len(pairs) :]:
        _, matrix = model.get_best_alignment(source, target)
        cells = [(int(i), int(j)) for i, j in zip(*matrix.to_numpy().nonzero(), strict=True)]
        links.append(sorted((j, i) if turned else (i, j) for i, j in cells))
    json.dump({"links": links, "seconds": time.process_time() - start}, sys.stdout)


if __name__ == "__main__":
    main()
