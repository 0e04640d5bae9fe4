"""What a batch of questions goes through: one function for each kind of answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from qkv.config import SearchConfig
from qkv.labelling import Classification, Tagged
from qkv.run import Run
from qkv.search.translate import Translation


class Question(NamedTuple):
    """A text, and how it is searched; texts that agree in the rest are searched together.

    Models of labels do not search: of theirs the text alone is read.
    """

    text: str
    n_best: int = 1
    search: SearchConfig | None = None


def translations(run: Run, questions: list[Question]) -> list[list[Translation] | Exception]:
    """Search all that agree in how together; a group that fails fails alone."""
    groups: dict[tuple[int, SearchConfig | None], list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        groups[question.n_best, question.search].append(place)
    found: dict[int, list[Translation] | Exception] = {}
    for (n_best, search), places in groups.items():
        texts = [questions[place].text for place in places]
        try:
            results = run.translate(texts, n_best=n_best, search=search)
        except Exception as failure:
            found |= dict.fromkeys(places, failure)
        else:
            found |= dict(zip(places, results, strict=True))
    return [found[place] for place in range(len(questions))]


def classifications(run: Run, questions: list[Question]) -> list[Classification]:
    """Label all texts together."""
    return run.classify([question.text for question in questions])


def tagged(run: Run, questions: list[Question]) -> list[Tagged]:
    """Label the words of all texts together."""
    return run.tag([question.text for question in questions])


class Verb(NamedTuple):
    """Where a run is asked for what its model gives, and what its batches go through."""

    path: str
    work: Callable[[Run, list[Question]], Sequence[Any]]


VERBS = {
    "sequence": Verb("/translate", translations),
    "label": Verb("/classify", classifications),
    "tags": Verb("/tag", tagged),
}
"""By what a model predicts."""

PAIRED = ("/align", "/attention")
"""What else a model answers that gives a sequence and attends."""
