"""From a run and its data to findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from qkv.data import Pairs, load_pairs
from qkv.examine.report import Report
from qkv.examine.retrain import Retrainer
from qkv.explain.faithfulness import TESTS, Material, Settings, Subject
from qkv.explain.faithfulness.finding import Finding, scipy_stats
from qkv.explain.faithfulness.material import Learning
from qkv.explain.faithfulness.quality import correct
from qkv.run import Run
from qkv.text.vocabulary import SPECIALS

WEIGHTS = {
    "classifier": "of each word",
    "hierarchical": "of each word in its sentence, times that of the sentence in its text",
}
"""What the one row of weights is, by the kind of model."""
TOKENS = 2048  # in a batch that is only read


def examine(
    run: Run,
    pairs: Pairs,
    tests: Sequence[str] = (),
    *,
    settings: Settings | None = None,
    seed: int = 1,
    folder: Path | None = None,
    tell: Callable[[float, str], None] = lambda _share, _text: None,
) -> Report:
    """Run tests of explanation on a classifier.

    Args:
        run: a trained classifier.
        pairs: texts with their labels; what the intervals are over.
        tests: names from `TESTS`; empty: all that train nothing, and with a folder all.
        settings: numbers of permutations, adversaries, seeds.
        seed: of every draw.
        folder: where models that a test trains are kept; None: such tests are refused.
        tell: called with the share that is done, and a word on it.

    Raises:
        ValueError: the run is no classifier, a test is unknown or may not train, a label of the
            pairs is unknown to the model, or scipy is not installed.
    """
    refuse_others(run)
    scipy_stats()
    names = chosen(tests, trains=folder is not None)
    subject = subject_of(run, pairs, seed, TOKENS)
    learning = None if folder is None else _learning(run, folder, seed)
    material = Material(subject, settings or Settings(), learning)
    findings: list[Finding] = []
    seconds: dict[str, float] = {}
    for place, name in enumerate(names):

        def told(share: float, text: str, place: int = place, name: str = name) -> None:
            tell((place + share) / len(names), f"{name}: {text}")

        started = time.monotonic()
        findings += TESTS[name].load()(material, told)
        seconds[name] = round(time.monotonic() - started, 1)
    about = {
        "model": run.config.model.kind,
        "n": len(subject),
        "seed": seed,
        "accuracy": float(correct(subject.seen.probabilities, subject.labels).mean()),
        "weights": WEIGHTS[run.config.model.kind],
        "seconds": seconds,
    }
    return Report(findings, about)


def chosen(tests: Sequence[str], *, trains: bool) -> list[str]:
    """Return the names of the tests to run, in the order of `TESTS`.

    Raises:
        ValueError: one is unknown, or trains although that was not asked for.
    """
    from qkv.spelling import did_you_mean

    for name in tests:
        if name not in TESTS:
            hint = did_you_mean(name, TESTS)
            raise ValueError(f"unknown test {name!r}; allowed: {', '.join(TESTS)}.{hint}")
        if TESTS[name].trains and not trains:
            raise ValueError(
                f"the test {name} trains models of this run's config, which takes its time; ask "
                "for that with --train"
            )
    if tests:
        return [name for name in TESTS if name in tests]
    return [name for name, test in TESTS.items() if trains or not test.trains]


def refuse_others(run: Run) -> None:
    """Refuse a run that gives no label to a text.

    Raises:
        ValueError: it does not; says what there is for it.
    """
    if run.network.predicts != "label":
        raise ValueError(
            "these tests are of models that give a text one label by one row of weights "
            '(model.kind = "classifier" or "hierarchical"), and this run is a '
            f"{run.config.model.kind}; what it looked at: `qkv translate RUN --show` or --html, "
            "and `qkv align RUN`"
        )


def subject_of(run: Run, pairs: Pairs, seed: int, tokens_per_batch: int) -> Subject:
    """Return the model with these examples.

    Raises:
        ValueError: a label is none that the model knows, or a text has no word.
    """
    labels, sequences = [], []
    for pair in pairs:
        ids, (label, *more) = run.source.ids(pair.source), [*run.target.ids(pair.target), 0]
        if label < len(SPECIALS) or len(more) != 1:
            raise ValueError(
                f"line {pair.line}: the label {pair.target!r} is none of the model's: "
                f"{', '.join(run.target.vocabulary.symbols[len(SPECIALS) :])}"
            )
        if not len(ids):
            raise ValueError(f"line {pair.line}: the text {pair.source!r} has no word")
        labels.append(label - len(SPECIALS))
        sequences.append(list(map(int, ids)))
    return Subject(
        run.labeller,
        sequences,
        np.array(labels),
        run.target.vocabulary.symbols[len(SPECIALS) :],
        tokens_per_batch,
        seed,
        str(next(run.network.parameters()).device),
    )


def _learning(run: Run, folder: Path, seed: int) -> Learning:
    tokens = run.config.data.tokens_per_batch
    parts = {split: load_pairs(run.config.data, split) for split in ("train", "dev")}
    train, dev = (subject_of(run, pairs, seed, tokens) for pairs in parts.values())
    retrainer = Retrainer(run, folder)
    return Learning(train, dev, retrainer, retrainer.build)
