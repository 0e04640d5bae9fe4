"""The corpora of labels: files of their layout, the files themselves, and files that are wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qkv.config import DataConfig
from qkv.data import load_pairs

SPLITS = ("train", "dev", "test")
SENTENCES = [f"sentence {number} ." for number in range(400)]


def write(folder: Path, files: dict[str, str], corpus: str, **settings: str) -> DataConfig:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return DataConfig(corpus=corpus, directory=str(folder), **settings)


def load_all(config: DataConfig):
    return {split: load_pairs(config, split) for split in SPLITS}


def lines(labels: list[str], between: str) -> str:
    """Each sentence behind one of the labels, in turn."""
    return "".join(
        f"{labels[i % len(labels)]}{between}{text}\n" for i, text in enumerate(SENTENCES)
    )


def word(number: str, form: str, tag: str) -> str:
    return "\t".join([number, form, "_", tag, *"______"]) + "\n"


@pytest.mark.parametrize(("corpus", "name"), [("sst", "sst2"), ("sst-5", "sst5")])
def test_sst_has_a_file_a_split_and_the_label_first(corpus, name, tmp_path):
    files = {f"{name}.{split}.tsv": f"1\ta {split} one .\n0\tno\n" for split in SPLITS}
    for split, pairs in load_all(write(tmp_path, files, corpus)).items():
        assert [(p.source, p.target, p.line) for p in pairs] == [
            (f"a {split} one .", "1", 1),
            ("no", "0", 2),
        ]
        assert (pairs.report.read, pairs.report.kept) == (2, 2)


def test_trec_is_the_question_and_the_coarse_label_and_a_tenth_of_train_is_dev(tmp_path):
    files = {
        "train_5500.label": lines(["DESC:manner", "NUM:date"], " "),
        "TREC_10.label": "HUM:ind Who was Galileo ?\n",
    }
    splits = load_all(write(tmp_path, files, "trec"))
    assert [(p.source, p.target) for p in splits["test"]] == [("Who was Galileo ?", "HUM")]
    both = sorted(splits["train"].sources + splits["dev"].sources)
    assert both == sorted(SENTENCES)
    # 40 expected; a binomial's deviation is 6
    assert 22 <= len(splits["dev"]) <= 58
    for pair in [*splits["train"], *splits["dev"]]:
        assert pair.source == SENTENCES[pair.line - 1]
        assert pair.target == ("NUM", "DESC")[pair.line % 2]


@pytest.mark.parametrize(
    ("corpus", "files"),
    [
        ("polarity", {"neg": "rt-polarity.neg", "pos": "rt-polarity.pos"}),
        ("polarity", {"neg": "sentence_polarity/rt-polarity.neg", "pos": "rt-polarity.pos"}),
        ("subjectivity", {"objective": "plot.tok.gt9.5000", "subjective": "quote.tok.gt9.5000"}),
    ],
)
def test_a_file_a_label_gives_each_sentence_its_label_and_one_split(corpus, files, tmp_path):
    texts = {
        name: "".join(f"{label} {text} \n" for text in SENTENCES) for label, name in files.items()
    }
    splits = load_all(write(tmp_path, texts, corpus))
    found = [pair for pairs in splits.values() for pair in pairs]
    assert sorted(pair.source for pair in found) == sorted(
        f"{label} {text}" for label in files for text in SENTENCES
    )
    assert all(pair.source == f"{pair.target} {SENTENCES[pair.line - 1]}" for pair in found)
    for split in ("dev", "test"):  # 80 expected; a binomial's deviation is 8.5
        assert 54 <= len(splits[split]) <= 106
        assert {pair.target for pair in splits[split]} == set(files)


def test_reviews_are_whole_texts_with_their_file_left_out(tmp_path):
    config = write(tmp_path, {"movie_reviews.tsv": lines(["0\tcv1", "1\tcv2"], "\t")}, "reviews")
    splits = load_all(config)
    found = sorted((p for pairs in splits.values() for p in pairs), key=lambda pair: pair.line)
    assert [pair.source for pair in found] == SENTENCES
    assert [pair.target for pair in found] == ["0", "1"] * 200
    assert all(22 <= len(splits[split]) <= 58 for split in ("dev", "test"))


def test_ud_is_a_word_and_a_tag_without_ranges_and_empty_nodes(tmp_path):
    text = (
        "# text = don't go, New York\n"
        + word("1-2", "don't", "_")
        + word("1", "do", "AUX")
        + word("2", "n't", "PART")
        + word("3", "go", "VERB")
        + word("3.1", "gone", "VERB")
        + word("4", "New\u00a0York", "PROPN")
        + "\n\n# next\n"
        + word("1", "New York", "PROPN")
    )
    files = {f"xx_yy-ud-{split}.conllu": text for split in SPLITS}
    for pairs in load_all(write(tmp_path, files, "ud", source="xx_yy")).values():
        assert [(p.source, p.target) for p in pairs] == [
            ("do n't go New␣York", "AUX PART VERB PROPN"),
            ("New␣York", "PROPN"),
        ]
        assert pairs.report.kept == 2


GOOD = {
    "sst": ("sst2.train.tsv", "1\tgood\n"),
    "sst-5": ("sst5.train.tsv", "4\tgood\n"),
    "sst-words": ("sst_dataset.csv", "text,label,exp_split\n"),
    "trec": ("train_5500.label", "NUM:date When ?\n"),
    "polarity": ("rt-polarity.neg", "bad .\n"),
    "subjectivity": ("plot.tok.gt9.5000", "it begins .\n"),
    "reviews": ("movie_reviews.tsv", "1\tcv1\tgood\n"),
    "ud": ("xx-ud-train.conllu", word("1", "go", "VERB")),
}

BAD = [
    ("sst", "good\n", "wrong number of columns: 1, wanted 2 (label<TAB>text)"),
    ("sst", "2\tgood\n", "unknown label: '2', wanted one of 0, 1"),
    ("sst", "01\tgood\n", "unknown label: '01', wanted one of 0, 1"),
    ("sst-words", "good,,train\n", "unknown label: '', wanted one of 0, 1"),
    ("sst", "1\t \n", "empty text: ' '"),
    ("sst-5", "5\tgood\n", "unknown label: '5', wanted one of 0, 1, 2, 3, 4"),
    ("sst-words", "a good one,1\n", "wrong number of columns: 2, wanted 3 (text,label,exp_split)"),
    ("sst-words", "a good one,1,valid\n", "unknown split: 'valid', wanted one of train, dev"),
    ("sst-words", "a good one,yes,train\n", "unknown label: 'yes', wanted one of 0, 1"),
    ("sst-words", ",1,train\n", "empty text: ''"),
    ("trec", "DESC:manner\n", "wrong number of columns: 1, wanted 2 (label question)"),
    ("trec", "What is it ?\n", "unknown label: 'What', wanted one of ABBR, DESC, ENTY, HUM"),
    ("trec", "LOC:city \n", "empty question: ''"),
    ("polarity", "\n", "empty text: ''"),
    ("subjectivity", "a\tb\n", "wrong number of columns: 2, wanted 1 (text)"),
    ("reviews", "1\tgood\n", "wrong number of columns: 2, wanted 3 (label<TAB>file<TAB>text)"),
    ("reviews", "x\tcv\tgood\n", "unknown label: 'x', wanted one of 0, 1"),
    ("ud", "2\tgo\tgo\n", "3 columns, wanted 10: ID, FORM, LEMMA, UPOS"),
    ("ud", word("2", "go", "VB"), "the tag 'VB', wanted one of ADJ, ADP"),
    ("ud", word("two", "go", "VERB"), "the number 'two', wanted such as 3, 3-4 or 3.1"),
    ("ud", word("2", " ", "VERB"), "empty form, wanted a word"),
]


@pytest.mark.parametrize(("corpus", "line", "said"), BAD)
def test_a_line_that_is_none_of_the_format_is_refused_by_file_line_and_what_is_wanted(
    corpus, line, said, tmp_path
):
    name, good = GOOD[corpus]
    source = {"source": "xx"} if corpus == "ud" else {}
    config = write(tmp_path, {name: good + line}, corpus, **source)
    with pytest.raises(ValueError) as raised:
        load_pairs(config, "train")
    assert str(raised.value).startswith(f"{tmp_path / name}:2: {said}")


@pytest.mark.parametrize("corpus", ["sst", "sst-words", "trec", "polarity", "reviews"])
def test_wrong_lines_can_be_skipped_and_are_counted(corpus, tmp_path):
    name, good = GOOD[corpus]
    if corpus == "sst-words":
        good += "bad,0,train\n"
    line = next(line for one, line, _ in BAD if one == corpus)
    files = {name: good + line, "rt-polarity.pos": "good .\n"}
    config = replace(write(tmp_path, files, corpus), invalid="skip")
    pairs = load_pairs(config, "train")
    assert (pairs.report.problems, pairs.report.kept) == (1, len(pairs))
    assert (3 if corpus == "sst-words" else 2) not in [pair.line for pair in pairs]


def test_a_treebank_without_a_sentence_is_refused(tmp_path):
    config = write(tmp_path, {"xx-ud-dev.conllu": "# nothing\n\n"}, "ud", source="xx")
    with pytest.raises(ValueError, match=r"xx-ud-dev\.conllu: no sentences; a word is a line of"):
        load_pairs(config, "dev")


@pytest.mark.parametrize(
    ("corpus", "folder", "sizes", "labels"),
    [
        ("sst", "sst", [6920, 872, 1821], 2),
        ("sst-5", "sst", [8544, 1101, 2210], 5),
        ("sst-words", "sst", [6920, 872, 1821], 2),
        ("trec", "trec", [None, None, 500], 6),
        ("polarity", "polarity", [None, None, None], 2),
        ("subjectivity", "polarity", [None, None, None], 2),
        ("reviews", "polarity", [None, None, None], 2),
        ("ud", "ud-ewt", [12_544, 2_001, 2_077], 17),
    ],
)
def test_the_real_corpora_have_their_published_sizes(corpus, folder, sizes, labels, corpus_folder):
    totals = {"trec": 5952, "polarity": 10_662, "subjectivity": 10_000, "reviews": 2_000}
    source = "en_ewt" if corpus == "ud" else ""
    config = DataConfig(corpus=corpus, directory=corpus_folder(folder), source=source)
    splits = load_all(config)
    found = [len(splits[split]) for split in SPLITS]
    assert all(size in (None, one) for size, one in zip(sizes, found, strict=True))
    assert sum(found) == totals.get(corpus, sum(found))
    seen = {label for pair in splits["train"] for label in pair.target.split()}
    assert len(seen) == labels
    if corpus == "ud":
        assert all(len(p.source.split()) == len(p.target.split()) for p in splits["train"])
