"""A tagger that reads the letters of words: what it says of words that it has never seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from label_values import values
from torch import Tensor
from torch.testing import assert_close

import qkv as package
from qkv.config import TaggerConfig
from qkv.configfile import make_config
from qkv.data import collate, encode_pairs
from qkv.data.pairs import Pair
from qkv.models.build import build_model, spelled
from qkv.models.letters import Letters
from qkv.models.tagger import Tagger
from qkv.models.weights import load_tensors
from qkv.text import EOS, PAD, UNK, Encoded, Side
from qkv.text.letters import LETTERS, WIDTH, spell
from small_runs import fit, qkv

FILTERS = 7
# A number passes through at most 32 operations, each a sum of at most 64 terms below 8.
SLACK = {"rtol": 0.0, "atol": 32 * 64 * 8 * torch.finfo(torch.float64).eps}
EXACT = {"rtol": 0.0, "atol": 0.0}


def write(folder: Path) -> Path:
    """Words that are never seen twice; the last letter says whether one is LEFT or RIGHT."""
    random = np.random.default_rng(5)
    for split, count in (("train", 150), ("dev", 20), ("test", 20)):
        lines = []
        for _ in range(count):
            stems = ["".join(random.choice(list("abcdefgh"), 6)) for _ in range(4)]
            ends = random.integers(2, size=4)
            words = [stem + "xy"[end] for stem, end in zip(stems, ends, strict=True)]
            tags = [("LEFT", "RIGHT")[end] for end in ends]
            lines.append(f"{' '.join(words)}\t{' '.join(tags)}\n")
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def given(folder: Path, characters: int, **training: Any) -> dict[str, Any]:
    tree = values(folder, "tagger", metric="token-accuracy", **training)
    tree["text"]["source"] |= {"min_count": 2, "size": 40}
    tree["model"] |= {"characters": characters, "encoder": "projection"}
    return tree


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nearly every word of it is unknown: of two known ones the vocabulary is made."""
    folder = write(tmp_path_factory.mktemp("letters"))
    train = folder / "train.tsv"
    train.write_text(train.read_text() + "knownx knowny\tLEFT RIGHT\n" * 2)
    return folder


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("runs") / "letters", given(corpus, FILTERS))


def model(encoder: str = "lstm") -> Tagger:
    torch.manual_seed(1)
    config = TaggerConfig(encoder=encoder, embedding=5, hidden=8, characters=FILTERS, dropout=0.0)
    assert spelled(config) and not spelled(TaggerConfig())
    built = build_model(config, 19, 7).double().eval()
    assert isinstance(built, Tagger)
    return built


def texts(*sentences: str) -> tuple[Tensor, Tensor]:
    """Every word unknown."""
    encoded = [Encoded(text, side().encode(text).tokens, []) for text in sentences]
    encoded = [Encoded(one.text, one.tokens, [UNK] * len(one.tokens)) for one in encoded]
    return model().read_texts(encoded)


def side() -> Side:
    return Side.train(make_config({}).text.source.__class__(kind="words"), ["a b"])


def test_a_word_is_its_bytes_from_1_and_zeros_and_a_long_one_its_ends():
    found = spell(["ab", "é", "", "x" * WIDTH + "yz"])
    assert found.shape == (4, WIDTH)
    assert found[0].tolist() == [98, 99] + [0] * (WIDTH - 2)
    assert found[1].tolist() == [0xC3 + 1, 0xA9 + 1] + [0] * (WIDTH - 2)
    assert not found[2].any()
    assert found[3].tolist() == [ord("x") + 1] * (WIDTH - 2) + [ord("y") + 1, ord("z") + 1]
    assert spell([]).shape == (0, WIDTH)
    assert spell(["\U0010ffff"]).max() < LETTERS


def test_the_vector_of_a_word_is_its_equation_written_as_loops():
    torch.manual_seed(1)
    letters = Letters(FILTERS).double()
    words = ["a", "attention", "日本語", "x" * 30, ""]
    rows = torch.from_numpy(spell(words)).long()
    found = letters(rows.unsqueeze(0))[0]
    weight, bias = letters.convolution.weight, letters.convolution.bias
    for row, vector in zip(rows, found, strict=True):
        own = [letters.embedding.weight[b] for b in row.tolist() if b]
        nothing = torch.zeros_like(letters.embedding.weight[0])
        around = [nothing, *own, nothing]
        for f in range(FILTERS):
            sums = [
                bias[f] + sum(weight[f, :, k] @ around[t + k] for k in range(3))
                for t in range(len(own))
            ]
            assert_close(vector[f], max(sums, default=torch.tensor(0.0).double()), **SLACK)


@pytest.mark.parametrize("encoder", ["lstm", "transformer", "projection"])
def test_neither_pads_nor_other_texts_change_what_is_said_of_a_text(encoder):
    tagger = model(encoder)
    sentences = ["one", "two three four", "five six"]
    tokens, lengths = texts(*sentences)
    assert tokens.shape == (3, 3, 1 + WIDTH)
    together = tagger(tokens, lengths)
    for row, text in enumerate(sentences):
        size = len(text.split())
        alone = tagger(*texts(text))
        assert_close(together.logits[row, :size], alone.logits[0], **SLACK)
        assert_close(together.attention[row, :size, :size], alone.attention[0], **SLACK)
    ended = tokens.clone()
    ended[0, 1, 0] = EOS  # it stands where a pad may stand
    assert_close(tagger(ended, lengths), together, **EXACT)


def test_unknown_words_differ_by_their_letters():
    tagger = model("projection")
    first, second = (tagger(*texts(word)).logits for word in ("walking", "walked"))
    assert (first - second).abs().max() > 1e-3


def test_every_parameter_learns():
    tagger = model()
    tokens, lengths = texts("one two", "three")
    torch.logsumexp(tagger(tokens, lengths).logits, -1).sum().backward()
    for name, parameter in tagger.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_a_batch_holds_the_letters_that_asking_reads(corpus: Path):
    learned = Side.train(make_config(given(corpus, 1)).text.source, ["known known some"])
    pairs = [Pair("known other", "a b", 1), Pair("some", "a", 2), Pair("日本 x known", "a b a", 3)]
    examples = encode_pairs(pairs, learned, learned, max_length=2, spelled=True)
    batch = collate(examples, [1, 0])
    assert batch.source.shape == (2, 3, 1 + WIDTH)
    assert batch.source[..., 0].tolist() == [[UNK, EOS, PAD], [4, UNK, EOS]]
    read, lengths = model().read_texts([learned.encode(pairs[i].source) for i in (1, 0)])
    assert torch.equal(batch.source[:, :-1], read)
    assert torch.equal(batch.source_lengths - 1, lengths)
    assert batch.source[1, :2, 1:].tolist() == spell(["known", "other"]).tolist()
    assert not batch.source[0, 1:, 1:].any()
    plain = collate(encode_pairs(pairs, learned, learned, max_length=2), [1, 0])
    assert torch.equal(plain.source, batch.source[..., 0])


def test_a_rule_of_letters_is_learned_for_words_never_seen(
    run: Path, corpus: Path, tmp_path: Path
):
    blind = fit(tmp_path / "blind", given(corpus, 0))
    scores = {}
    for name, folder in (("letters", run), ("blind", blind)):
        outcome = qkv("evaluate", folder, "--json")
        scores[name] = json.loads(outcome.out)["scores"]["token-accuracy"]["value"]
    assert scores["letters"] > 97 and scores["blind"] < 75
    assert package.load(run).tag(["zzzzzx qqqy"])[0].tags == ("LEFT", "RIGHT")


def test_tags_do_not_depend_on_the_batch_and_saliency_and_pictures_work(run: Path, tmp_path: Path):
    loaded = package.load(run)
    several = loaded.tag(["aax bby ccx", "ddy", "knownx"])
    assert [one.tags for one in several][1:] == [("RIGHT",), ("LEFT",)]
    (alone,) = loaded.tag(["aax bby ccx"])
    assert alone.tags == several[0].tags
    for method in ("gradient", "leave-one-out", "integrated-gradients", "rollout"):
        (found,) = package.explain.saliency(loaded, ["aax bby"], ["LEFT RIGHT"], method=method)
        assert found.values.shape == (2, 2) and found.values.isfinite().all()
    gradients = package.explain.saliency(loaded, ["aax bby"], ["LEFT RIGHT"])[0].shares
    assert (gradients.diagonal() > 0.5).all()  # a word's own letters say its tag
    page = tmp_path / "page.html"
    outcome = qkv("tag", run, "--html", page, stdin="aax bby\n")
    assert outcome.lines == ["LEFT RIGHT"] and "bby RIGHT" in page.read_text(encoding="utf-8")


def test_a_stopped_training_goes_on_to_the_same_bits(corpus: Path, run: Path, tmp_path: Path):
    tree = given(corpus, FILTERS)
    tree["training"]["max_steps"] = 40
    parts = fit(tmp_path / "parts", tree)
    tree["training"]["max_steps"] = 0
    fit(parts, tree)
    first, second = (load_tensors(one / "weights.safetensors")[0] for one in (run, parts))
    assert_close(second, first, **EXACT)


def test_a_run_does_not_go_on_with_words_of_other_letters(corpus: Path, tmp_path: Path):
    """Both are unknown, so that their ids are the same."""
    data = tmp_path / "data"
    data.mkdir()
    for file in corpus.glob("*.tsv"):
        (data / file.name).write_bytes(file.read_bytes())
    tree = given(data, FILTERS, epochs=1)
    folder = fit(tmp_path / "run", tree)
    train = data / "train.tsv"
    line = train.read_text().splitlines()[0]
    train.write_text(train.read_text().replace(line, "q" + line, 1))
    tree["training"]["epochs"] = 2
    with pytest.raises(ValueError, match="the training data has changed"):
        fit(folder, tree)
