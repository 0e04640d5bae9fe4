from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import qkv as package
from qkv.config import AttentionConfig, ReinforceConfig, RNNsearchConfig
from qkv.configfile import load_config
from qkv.folder import RunFolder
from qkv.models.weights import load_tensors, save_tensors
from qkv.run import load
from qkv.text import Side, Vocabulary
from qkv.training.loop import train
from small_runs import fit, qkv, tree

EPS = torch.finfo(torch.float32).eps


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def test_a_run_is_loaded_by_the_name_in_the_readme(trained: Path):
    run = package.load(str(trained))
    assert isinstance(run, package.Run)
    assert not run.model.training
    (outputs,) = run.translate(["a b c"])
    assert [output.text for output in outputs] == ["c b a"]


def test_a_run_needs_nothing_but_config_sides_and_weights(trained: Path, tmp_path: Path):
    for name in ("config.json", "source.json", "target.json", "weights.safetensors"):
        shutil.copy(trained / name, tmp_path / name)
    assert load(tmp_path).translate(["a b"])[0][0].text == "b a"


def test_the_weights_hold_no_pickle(trained: Path):
    tensors, facts = load_tensors(trained / "weights.safetensors")
    assert tensors and facts.keys() == {"config", "source", "target"}
    for path in trained.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith((b"\x80\x04", b"PK\x03\x04")), path


def test_translations_carry_both_texts_with_the_places_of_their_tokens(trained: Path):
    ((output,),) = load(trained).translate(["a  b c"])
    assert output.source.text == "a  b c"
    assert output.target.text == output.text == "c b a"
    for side in (output.source, output.target):
        assert [side.text[t.start : t.end] for t in side.tokens] == side.text.split()
    assert output.complete and output.ids == tuple(output.target.ids)
    assert output.attention is not None and output.attention.shape == (4, 4)


def test_progress_is_told_of_every_text(trained: Path):
    done: list[int] = []
    load(trained).translate(["a b", "c", "d e f"] * 5, progress=done.append)
    assert sum(done) == 15


def test_no_texts_give_no_translations(trained: Path):
    run = load(trained)
    assert run.translate([]) == run.force([], []) == []


def test_forcing_what_was_found_gives_its_scores_and_its_attention(trained: Path):
    """Search and forced decoding are two ways through the same parameters."""
    run = load(trained)
    texts = ["a b c", "d e f g a", "b", "a Zoë c"]
    for search in (run.config.search, replace(run.config.search, alpha=0.6, coverage=0.2)):
        found = [outputs[0] for outputs in run.translate(texts, search=search)]
        forced = run.force(texts, [output.ids for output in found], search=search)
        for one, other in zip(found, forced, strict=True):
            assert other.log_prob == pytest.approx(one.log_prob, abs=1e-5)
            assert other.score == pytest.approx(one.score, abs=1e-5)
            assert other.text == one.text
            assert_close(other.attention, one.attention, rtol=0.0, atol=100 * EPS)


def test_a_forced_text_stays_the_text_that_was_given(trained: Path):
    """Its unknown words are <unk> to the model, not to whoever reads the alignment."""
    (forced,) = load(trained).force(["a Zoë c"], ["c  Zoé a"])
    assert forced.target.text == "c  Zoé a"
    places = [(token.start, token.end) for token in forced.target.tokens]
    assert ["c  Zoé a"[start:end] for start, end in places] == ["c", "Zoé", "a"]


def test_texts_and_targets_of_different_numbers_are_refused(trained: Path):
    with pytest.raises(ValueError, match="2 sources, but 1 targets"):
        load(trained).force(["a", "b"], ["a"])


def test_a_folder_without_a_config_is_no_run(tmp_path: Path):
    with pytest.raises(ValueError, match="is not a run folder"):
        load(tmp_path)
    with pytest.raises(ValueError, match="is not a run folder"):
        load(tmp_path / "nothing")


def test_an_unfinished_run_says_how_to_go_on(copy: Path):
    (copy / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match="start `qkv train` with the same config again"):
        load(copy)


@pytest.mark.parametrize(
    "name", ["config.json", "source.json", "target.json", "weights.safetensors"]
)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_refused_by_name(name: str, share: float, copy: Path):
    path = copy / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=name):
        load(copy)


def test_weights_of_another_config_are_refused(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    config["training"]["seed"] = 7
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="was trained with another config"):
        load(copy)


def test_weights_of_another_shape_are_refused_with_both_shapes(copy: Path):
    path = copy / "weights.safetensors"
    tensors, facts = load_tensors(path)
    name = "target_embedding.weight"
    assert name in tensors
    rows, columns = tensors[name].shape
    tensors[name] = torch.zeros(rows + 1, columns)
    tensors["stranger"] = torch.zeros(1)
    save_tensors(tensors, path, facts)
    with pytest.raises(ValueError, match="2 differences") as raised:
        load(copy)
    message = str(raised.value)
    assert f"{name}: ({rows + 1}, {columns}) in the file, ({rows}, {columns})" in message
    assert "stranger is not part of the model" in message


def test_text_longer_than_the_learned_positions_is_refused_with_both_numbers(
    corpus: Path, tmp_path: Path
):
    values = tree(corpus, "transformer", max_steps=2)
    values["model"] |= {"positions": "learned", "max_positions": 8}
    values["data"]["max_length"] = 7
    run = fit(tmp_path / "run", values)
    assert qkv("translate", run, stdin="a b c\n").status == 0
    outcome = qkv("translate", run, stdin="a b c\na b c d e f g a b\n")
    assert outcome.status == 1
    for part in ("10 tokens", "8 learned positions", "model.max_positions", "sinusoidal"):
        assert part in outcome.err


def test_an_output_that_reaches_the_learned_positions_is_cut_off_and_marked(
    corpus: Path, tmp_path: Path
):
    values = tree(corpus, "transformer", max_steps=2)
    values["model"] |= {"positions": "learned", "max_positions": 8}
    values["data"]["max_length"] = 7
    run = fit(tmp_path / "run", values)
    words = ("--json", "--search.max-extra", "30")
    outcome = qkv("translate", run, *words, stdin="a b c\n")
    assert outcome.status == 0, outcome.err
    (output,) = json.loads(outcome.out)["outputs"]
    assert output["truncated"] is (len(output["ids"]) >= 8)


@pytest.mark.parametrize("name", ["source", "target"])
def test_a_vocabulary_of_another_run_is_refused_by_name(name: str, copy: Path):
    side = Side.load(copy / f"{name}.json")
    symbols = side.vocabulary.symbols[4:]
    replace(side, vocabulary=Vocabulary([*symbols[1:], symbols[0]])).save(copy / f"{name}.json")
    with pytest.raises(ValueError, match=f"trained with another {name} vocabulary"):
        load(copy)


def test_one_text_in_place_of_a_list_is_refused(trained: Path):
    with pytest.raises(ValueError, match=r"takes a list of texts; for one, write \['a b'\]"):
        load(trained).translate("a b")


@pytest.mark.parametrize("texts", [["a", 3], [b"a"], [None]])
def test_what_is_no_text_is_refused_by_its_place(texts: list, trained: Path):
    run = load(trained)
    place, kind = len(texts) - 1, type(texts[-1]).__name__
    with pytest.raises(
        ValueError, match=f"translate takes texts, but that at {place} is a {kind}"
    ):
        run.translate(texts)


def test_one_text_in_place_of_a_list_cannot_be_forced(trained: Path):
    run = load(trained)
    with pytest.raises(ValueError, match=r"force takes a list of texts; for one, write \['abc'\]"):
        run.force("abc", "cba")
    with pytest.raises(ValueError, match=r"force takes a list of texts; for one, write \['cba'\]"):
        run.force(["a b c"], "cba")


def test_a_trained_model_without_its_checkpoint_is_never_overwritten(copy: Path):
    (copy / "checkpoint.safetensors").unlink()
    before = (copy / "weights.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"no checkpoint\.safetensors to go on from"):
        train(load_config(copy / "config.json"), copy, quiet=True)
    assert (copy / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["source.json", "target.json"])
def test_a_run_without_one_of_its_sides_is_refused_with_what_it_lacks(name: str, copy: Path):
    (copy / name).unlink()
    with pytest.raises(ValueError, match=f"{copy} lacks {name}, the tokeniser and vocabulary"):
        load(copy)


def test_what_is_no_run_folder_is_refused_with_the_reason(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"not a run folder \(it is a file\)"):
        load(tmp_path / "file")
    with pytest.raises(ValueError, match=r"not a run folder \(it does not exist\)"):
        load(tmp_path / "nothing")


LATER = {"alpha", "temperature", "scope", "window", "bias", "features", "layer_scores"}
"""Keys of an attention that the first version did not have."""


def test_the_config_of_a_run_of_an_earlier_version_loads_with_the_defaults_of_later_keys():
    config = load_config(Path(__file__).parent / "config_of_an_earlier_version.json")
    assert config.model == RNNsearchConfig(
        attention=AttentionConfig(score="general", hidden=7), embedding=7, hidden=10, maxout=6
    )
    assert config.training.epochs == 2 and config.training.reinforce == ReinforceConfig()


def test_a_run_of_an_earlier_version_loads_and_goes_on(corpus: Path, tmp_path: Path):
    """The digests in its weights and its checkpoint are of the keys that there were."""
    run = fit(tmp_path / "run", tree(corpus, epochs=1))
    found = json.loads((run / "config.json").read_text())
    for key in LATER:
        del found["model"]["attention"][key]
    del found["training"]["reinforce"]
    (run / "config.json").write_text(json.dumps(found))
    for name in ("weights", "checkpoint"):
        path = run / f"{name}.safetensors"
        tensors, facts = load_tensors(path)
        key = "config" if name == "weights" else "run"
        now = facts[key].partition("-")[0]
        facts[key] = facts[key].replace(now, RunFolder(run).digest)
        assert now != RunFolder(run).digest
        save_tensors(tensors, path, facts)

    before = load(run).translate(["a b c"])[0][0]
    fit(run, tree(corpus, epochs=2))

    assert before.log_prob < 0 and load(run).translate(["a b c"])[0][0].log_prob < 0
    kept = json.loads((run / "config.json").read_text())
    assert not LATER & kept["model"]["attention"].keys()
    assert kept["training"]["epochs"] == 2
    with pytest.raises(ValueError, match=r"these keys differ: model\.attention\.scope"):
        values = tree(corpus, epochs=2)
        values["model"]["attention"] = {"scope": "local-m"}
        fit(run, values)
