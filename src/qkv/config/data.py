"""Text and data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from qkv.config.kinds import STRICT, Count


@dataclass(frozen=True)
class TokenizerConfig:
    """How one side's text becomes tokens."""

    __pydantic_config__ = STRICT

    kind: Literal["characters", "words", "bpe", "unigram"] = "bpe"
    """characters, whitespace words, or sentencepiece subwords (bpe, unigram)."""
    size: Count = 8000
    """Most symbols kept, specials included; for subwords the model's size."""
    min_count: Count = 1
    """Words and characters seen less often become the unknown symbol."""
    lowercase: bool = False
    """Lower-case the text before cutting it; spans still point into the original."""


@dataclass(frozen=True)
class TextConfig:
    """The two sides' tokenisers."""

    __pydantic_config__ = STRICT

    source: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The source side."""
    target: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The target side."""
    shared: bool = False
    """One tokeniser and vocabulary for both sides (needed to tie their embeddings)."""

    def __post_init__(self) -> None:
        if self.shared and self.source != self.target:
            raise ValueError(
                "text.shared = true, but text.source and text.target differ; "
                "give both the same settings, or set text.shared = false"
            )


@dataclass(frozen=True)
class DataConfig:
    """Where the pairs come from: a named corpus, or files."""

    __pydantic_config__ = STRICT

    corpus: str = ""
    """A named corpus (`qkv data` lists them); empty: the files below."""
    directory: str = ""
    """The folder of a named corpus that ships with no package."""
    source: str = ""
    """A named corpus of several languages: the source language, such as en."""
    target: str = ""
    """A named corpus of several languages: the target language, such as de."""
    train: tuple[str, ...] = ()
    """One TSV (source, tab, target), or two parallel files; .gz and .xz are read as they are."""
    dev: tuple[str, ...] = ()
    """The same for the development set."""
    test: tuple[str, ...] = ()
    """The same for the test set."""
    invalid: Literal["refuse", "skip"] = "refuse"
    """A malformed or empty line: refuse the file, or skip the line; both report it."""
    max_length: Count = 200
    """Longest side of a training pair, in tokens; longer pairs are left out and counted."""
    tokens_per_batch: Count = 4096
    """Padded tokens of the longer side in a batch, at most."""
