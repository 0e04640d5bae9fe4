"""Subwords, by sentencepiece: byte-pair encoding and the unigram language model.

Sources: Sennrich, Haddow and Birch 2016 (BPE); Kudo 2018 (unigram); Kudo and Richardson 2018.

Differs from sentencepiece's defaults: the text is not normalised and its spaces are all kept, so
the pieces, put side by side, are the text itself (with ▁ for a space and one ▁ before the first
word). From this follow each piece's span and an exact way back. A literal ▁ in the text is
an unknown character.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Self, final

from qkv.text.tokenizers import Tokenizer
from qkv.text.vocabulary import SPECIALS, Vocabulary

if TYPE_CHECKING:
    from qkv.config import TokenizerConfig

_SPACE = "▁"
# Stands for a literal ▁, which the model would read as a space. No Unicode text may use it.
_LITERAL = "\ufdd0"
# The model's own specials get names that no text has: text that reads `<s>` stays ordinary text.
_META = "\ufdd1"
_NEVER = (_SPACE, _LITERAL, _META, "\0")  # no piece may hold these


class Subwords(Tokenizer):
    """What BPE and Unigram share; `model` is sentencepiece's own, so its ids are ours."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = _sentencepiece().SentencePieceProcessor(model_proto=model)

    @classmethod
    @abstractmethod
    def restore(cls, model: bytes) -> Self:
        """Read a stored sentencepiece model."""

    @classmethod
    def train(cls, texts: Sequence[str], config: TokenizerConfig) -> tuple[Self, Vocabulary]:
        """Learn the pieces; the same texts give the same model, byte for byte.

        Raises:
            ValueError: there is no text, or the size leaves no room for a character.
        """
        model = _learn(cls.kind, _coverable(texts, config), config.size)
        tokenizer = cls.restore(model)
        processor = tokenizer._processor
        pieces = [processor.id_to_piece(i) for i in range(len(SPECIALS), len(processor))]
        return tokenizer, Vocabulary(pieces)

    @property
    def model(self) -> bytes:
        """The serialised sentencepiece model."""
        return self._model

    def split(self, text: str) -> list[str]:
        """Return the pieces; a run of unknown characters is one piece."""
        pieces: list[str] = self._processor.encode(text.replace(_SPACE, _LITERAL), out_type=str)
        return pieces

    def spans(self, text: str, pieces: Sequence[str]) -> list[tuple[int, int]]:
        """Return each piece's place; the pieces' spans, side by side, are the whole text."""
        # The ▁ that stands before the text is at -1; an output may begin without it.
        before = -1 if pieces and pieces[0].startswith(_SPACE) else 0
        ends = accumulate(map(len, pieces), initial=before)
        return [(max(start, 0), end) for start, end in pairwise(ends)]

    def join(self, pieces: Sequence[str]) -> str:
        """Return the text, without the space that ▁ puts before the first word."""
        return "".join(pieces).replace(_SPACE, " ").removeprefix(" ")


@final
class BPE(Subwords):
    """Byte-pair encoding."""

    kind = "bpe"

    @classmethod
    def restore(cls, model: bytes) -> BPE:
        """Read a stored model."""
        return cls(model)


@final
class Unigram(Subwords):
    """The unigram language model."""

    kind = "unigram"

    @classmethod
    def restore(cls, model: bytes) -> Unigram:
        """Read a stored model."""
        return cls(model)


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise ValueError(
            "subwords (bpe, unigram) need the package sentencepiece: pip install 'qkv[subwords]', "
            "or choose the tokenizer characters or words"
        ) from None
    return sentencepiece


def _coverable(texts: Sequence[str], config: TokenizerConfig) -> list[str]:
    """Blank the characters that get no symbol: the rare ones, and those that leave no room.

    At most half of the symbols are single characters, or text with very many of them (Chinese,
    emoji) would leave no room for longer pieces; sentencepiece would refuse to train at all.
    """
    room = config.size - len(SPECIALS)
    if room < 2:
        raise ValueError(
            f"a subword model of size {config.size} has no room for a character beside the "
            f"{len(SPECIALS)} specials and {_SPACE}; give a size of {len(SPECIALS) + 2} or more"
        )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    for character in (" ", *_NEVER):
        counts.pop(character, None)
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    kept = {c for c in ranked[: max(1, room // 2)] if counts[c] >= config.min_count}
    if not kept:
        raise ValueError(
            f"the training text has no character seen {config.min_count} times or more "
            f"({len(texts)} lines); give more text, or a lower min_count"
        )
    blank = dict.fromkeys(map(ord, {*counts, *_NEVER} - kept), " ")
    return [text.translate(blank) for text in texts]


def _learn(kind: str, texts: list[str], size: int) -> bytes:
    model = io.BytesIO()
    try:
        _sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type=kind,
            vocab_size=size,
            hard_vocab_limit=False,  # a small text gives a smaller model, not an error
            character_coverage=1.0,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=1 << 24,  # the default drops long lines without a word
            num_threads=1,  # deterministic
            shuffle_input_sentence=False,
            minloglevel=2,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            pad_piece=_META + "pad",
            bos_piece=_META + "bos",
            eos_piece=_META + "eos",
            unk_piece=_META + "unk",
        )
    except RuntimeError as error:
        raise ValueError(
            f"sentencepiece could not train a {kind} model of size {size} on {len(texts)} lines: "
            f"{error}"
        ) from None
    return model.getvalue()
