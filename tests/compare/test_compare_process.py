"""The process of a variant, and what is known of it afterwards."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from qkv.compare import variants_of
from qkv.compare.memory import peak_memory
from qkv.compare.process import run_variant
from qkv.compare.record import Question, Record, answered, plain_tree, trained
from qkv.config import Config
from qkv.configfile import config_tree
from qkv.folder import write_json

QUESTION = Question("dev", ("accuracy",))
(VARIANT,) = variants_of(Config(), [])


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL, perhaps"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("raise SystemExit(7)", "ended with status 7"),
        ('print(\'{"error": "it rained"}\'); raise SystemExit(1)', "it rained"),
        ("input()", ""),
    ],
)
def test_how_a_process_ended_is_said(program: str, said: str, tmp_path: Path):
    with patch("qkv.compare.process.COMMAND", [sys.executable, "-c", program]):
        found = run_variant(tmp_path, VARIANT, QUESTION)
    assert found.startswith(said) and bool(found) == bool(said)


def test_a_file_of_the_working_folder_does_not_stand_in_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "strange").touch()
    assert "is not empty and is not a run" in run_variant(tmp_path / "run", VARIANT, QUESTION)


def test_a_small_process_is_small_whoever_started_it():
    """The peak that getrusage gives is handed down by the process that starts another."""
    mib = 2**20
    large = bytearray(b"x" * (300 * mib))  # touched, so that it is resident
    program = "from qkv.compare.memory import peak_memory; {}print(peak_memory())"
    peaks = [
        float(
            subprocess.run(
                [sys.executable, "-c", program.format(extra)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for extra in ("", f"held = b'x' * {100 * mib}; ")
    ]
    own = peak_memory()
    assert own is not None and own > 300 > 0 < len(large)
    assert peaks[0] < 100
    # The difference is what was held, give or take the pages of the interpreter's own start.
    assert 90 < peaks[1] - peaks[0] < 110


def test_a_record_answers_its_own_config_and_question_alone(tmp_path: Path):
    config = Config()
    (tmp_path / "weights.safetensors").touch()
    write_json(tmp_path / "config.json", config_tree(config))
    assert trained(tmp_path, config) is None

    Record(plain_tree(config), {"minutes": 1.0}).save(tmp_path)
    assert trained(tmp_path, config) is not None
    assert answered(tmp_path, config, QUESTION) is None

    record = Record(plain_tree(config), {"minutes": 1.0}, QUESTION.json(), {"parameters": 3})
    record.save(tmp_path)
    assert answered(tmp_path, config, QUESTION) == record
    assert answered(tmp_path, config, Question("test", ("accuracy",))) is None
    longer = replace(config, training=replace(config.training, epochs=99))
    assert trained(tmp_path, longer) is None
    write_json(tmp_path / "config.json", config_tree(longer))  # by `qkv train`, since
    assert trained(tmp_path, config) is None
    write_json(tmp_path / "config.json", config_tree(config))
    assert trained(tmp_path, config) == record
    (tmp_path / "weights.safetensors").unlink()
    assert answered(tmp_path, config, QUESTION) is None
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "measured.json").write_text("{}")
    with pytest.raises(ValueError, match="is not what `qkv compare` writes"):
        trained(tmp_path, config)
    assert Question.read(QUESTION.json()) == QUESTION
