"""BLEU, chrF and TER, by sacreBLEU: on detokenised text, with the signature that says how."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import zip_longest
from typing import Any

from qkv.evaluate.registry import References, Score, listed

TOKENIZERS = ("13a", "intl", "zh", "char", "none", "ja-mecab", "ko-mecab")
"""sacreBLEU's tokenisers that need no download; the last two need a package of their own."""


def bleu(hypotheses: Sequence[str], references: References, *, tokenize: str = "13a") -> Score:
    """Return corpus BLEU (Papineni et al. 2002) as Post 2018 fixes it.

    Args:
        hypotheses: detokenised outputs.
        references: for each, a detokenised text or several; their numbers may differ.
        tokenize: one of `TOKENIZERS`. 13a does not cut Chinese or Japanese into words, where it
            therefore compares whole clauses: use zh, char or ja-mecab.

    Raises:
        ValueError: sacrebleu is not installed; an unknown tokeniser; numbers that do not match.
    """
    if tokenize not in TOKENIZERS:
        raise ValueError(f"unknown tokenizer {tokenize!r}; allowed: {', '.join(TOKENIZERS)}")
    name = "bleu" if tokenize == "13a" else f"bleu-{tokenize}"
    return _score(name, _sacrebleu().BLEU(tokenize=tokenize), hypotheses, references)


def bleu_zh(hypotheses: Sequence[str], references: References) -> Score:
    """Return BLEU over Chinese characters and other words."""
    return bleu(hypotheses, references, tokenize="zh")


def bleu_char(hypotheses: Sequence[str], references: References) -> Score:
    """Return BLEU over characters."""
    return bleu(hypotheses, references, tokenize="char")


def chrf(hypotheses: Sequence[str], references: References) -> Score:
    """Return corpus chrF2: character n-grams up to 6, recall counts twice (Popović 2015)."""
    return _score("chrf", _sacrebleu().CHRF(), hypotheses, references)


def chrf_plus_plus(hypotheses: Sequence[str], references: References) -> Score:
    """Return corpus chrF2++: chrF2 with word unigrams and bigrams (Popović 2017)."""
    return _score("chrf++", _sacrebleu().CHRF(word_order=2), hypotheses, references)


def ter(hypotheses: Sequence[str], references: References) -> Score:
    """Return the translation edit rate: edits and shifts a reference word (Snover et al. 2006)."""
    return _score("ter", _sacrebleu().TER(), hypotheses, references)


def _score(name: str, metric: Any, hypotheses: Sequence[str], references: References) -> Score:
    # sacreBLEU wants its references the other way round; None stands where a sentence has fewer.
    streams = list(zip_longest(*listed(hypotheses, references)))
    value = metric.corpus_score(list(hypotheses), streams).score
    return Score(name, float(value), str(metric.get_signature()))


def _sacrebleu() -> Any:
    """Import sacreBLEU when a metric needs it."""
    try:
        return import_module("sacrebleu.metrics")
    except ImportError:
        raise ValueError(
            "bleu, chrf and ter need the package sacrebleu: pip install 'qkv[metrics]' "
            "(per, wer and accuracy need nothing)"
        ) from None
