from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from unittest.mock import patch

import pytest

from qkv.cli.main import VERBS
from qkv.config import MODEL_CONFIGS
from qkv.models.weights import load_metadata
from small_runs import qkv, spawn

HELP = """
import sys
from qkv.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as ended:
    status = ended.code
heavy = {"torch", "tensorflow", "sentencepiece", "sacrebleu"} & sys.modules.keys()
print("imported:", *heavy, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)]
)
def test_help_answers_on_standard_output_without_a_tensor_library(words: list[str]):
    ended = subprocess.run([sys.executable, "-c", HELP, *words], capture_output=True, text=True)
    assert ended.returncode == 0
    assert ended.stderr.strip() == "imported:"
    assert ended.stdout.startswith("qkv " if words == ["--version"] else "usage: qkv")


def test_importing_qkv_imports_no_tensor_library():
    code = "import sys, qkv; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_lists_every_verb():
    outcome = qkv("--help")
    assert outcome.status == 0
    for verb, text in VERBS.items():
        assert f"  {verb} " in outcome.out and text in outcome.out
    assert qkv("help") == qkv("-h") == outcome


def test_no_verb_at_all_is_a_usage_error():
    outcome = qkv()
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == qkv("--help").out


def test_an_unknown_verb_is_a_usage_error_with_a_suggestion():
    outcome = qkv("trian")
    assert (outcome.status, outcome.out) == (2, "")
    assert "no verb 'trian'" in outcome.err and "Did you mean 'train'?" in outcome.err
    assert "Did you mean" not in qkv("xyzzy").err


@pytest.mark.parametrize("verb", ["translate", "score", "align", "evaluate"])
def test_a_folder_that_is_no_run_is_an_error_of_one_line(verb: str, tmp_path: Path):
    outcome = qkv(verb, tmp_path)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"qkv {verb}: {tmp_path} is not a run folder (no config.json in it)\n"


@pytest.mark.parametrize("verb", ["train", "compare", "translate", "score", "align", "evaluate"])
def test_a_missing_argument_is_a_usage_error(verb: str):
    outcome = qkv(verb)
    assert (outcome.status, outcome.out) == (2, "")
    assert "Missing" in outcome.err


@pytest.mark.parametrize("verb", list(VERBS))
def test_an_unknown_option_is_a_usage_error_that_names_it(verb: str, trained: Path):
    given = trained / "config.json" if verb in {"train", "compare", "data"} else trained
    folder = ["out"] if verb == "export" else []
    outcome = qkv(verb, given, *folder, "--zzz")
    assert (outcome.status, outcome.out) == (2, "")
    assert "--zzz" in outcome.err


def test_a_misspelt_option_is_refused_with_the_nearest_one(trained: Path):
    outcome = qkv("train", trained / "config.json", "--training.epoch", "3")
    assert outcome.status == 2
    assert "--training.epochs" in outcome.err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(28, "No space left on device", "/x/y"), 1, "/x/y: No space left on device"),
        (OSError(5, "Input/output error"), 1, "Input/output error"),
        (ValueError("the reason"), 1, "the reason"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("and this"), 130, "interrupted; and this"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line_with_an_exit_status(
    error: BaseException, status: int, said: str
):
    with patch("qkv.cli.data.list_corpora", side_effect=error):
        outcome = qkv("data")
    assert (outcome.status, outcome.out, outcome.err) == (status, "", f"qkv data: {said}\n")


def test_a_reader_that_has_seen_enough_ends_the_writer_quietly(trained: Path, tmp_path: Path):
    """As `qkv translate RUN --input lines | head -1` does; the lines are more than one chunk."""
    lines = tmp_path / "lines"
    lines.write_text("a\n" * 1100)
    process = spawn("translate", trained, "--input", lines, "--search.method", "greedy")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "a\n"
    process.stdout.close()
    assert process.wait() == 0
    said = process.stderr.read()
    process.stderr.close()
    assert not said or said.startswith("compiling loops for this processor")  # if they are new


def test_text_goes_in_and_out_as_utf8_whatever_the_locale_says(trained: Path):
    process = subprocess.run(
        [sys.executable, "-m", "qkv", "translate", str(trained), "--replace-unknown"],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
        input="é\n".encode(),
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.decode() == "é\n"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_ends_a_training_with_status_130_and_says_how_to_go_on(
    corpus: Path, tmp_path: Path
):
    from small_runs import tree, write_toml

    config = write_toml(tmp_path / "config.toml", tree(corpus, epochs=10_000, checkpoint_every=5))
    process = spawn("train", config, "--out", tmp_path / "run")
    while not (tmp_path / "run" / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    step = load_metadata(tmp_path / "run" / "checkpoint.safetensors")["progress"]
    assert err.splitlines()[-1] == (
        f"qkv train: interrupted; {tmp_path / 'run'} has a checkpoint of step "
        f"{json.loads(step)['step']}: the same command goes on from there"
    )


@pytest.mark.parametrize("verb", ["train", "demo"])
def test_an_interrupt_before_the_first_checkpoint_says_so(
    verb: str, trained: Path, tmp_path: Path
):
    words = [trained / "config.json"] if verb == "train" else []
    with patch("qkv.training.loop.train", side_effect=KeyboardInterrupt):
        outcome = qkv(verb, *words, "--out", tmp_path / "run")
    assert outcome.status == 130
    said = f"qkv {verb}: interrupted; {tmp_path / 'run'} has no checkpoint yet: the same command"
    assert outcome.err == f"{said} starts from the beginning\n"


@pytest.mark.parametrize("kind", list(MODEL_CONFIGS))
def test_the_help_shows_the_keys_of_the_configs_kind_and_how_to_see_those_of_others(
    kind: str, tmp_path: Path
):
    config = tmp_path / "config.toml"
    config.write_text(f'[model]\nkind = "{kind}"\n')
    for verb in ("train", "compare"):
        plain = " ".join(qkv(verb, "--help").out.split())
        assert kind in plain and "`qkv train CONFIG --help` shows" in plain
        shown = qkv(verb, config, "--help").out
        for name in (field.name for field in fields(MODEL_CONFIGS[kind])):
            assert f"--model.{name.replace('_', '-')}" in shown
