from __future__ import annotations

import io
from pathlib import Path
from unittest.mock import patch

import pytest

from qkv.cli.lines import STDIN, read_lines
from qkv.cli.progress import Progress
from qkv.run import load
from small_runs import qkv


class Terminal(io.StringIO):
    """What claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_long_translation_says_where_it_is_in_plain_lines_on_standard_error(trained: Path):
    now = Progress("translate", silent_seconds=0.0, seconds_between_lines=0.0)
    with patch("qkv.cli.translate.Progress", lambda verb: now):
        outcome = qkv("translate", trained, stdin="a b c d e\n\nb\n")
    assert outcome.lines == ["e d c b a", "", "b"]
    said = outcome.err.splitlines()
    assert len(said) >= 5  # one a step, and the longer output has five tokens
    assert all(line.startswith("qkv translate: ") for line in said)
    assert "0 of 2 lines" in said[0] and "2 of 2 lines" in said[-1]


def test_a_translation_that_takes_no_time_says_nothing(trained: Path):
    assert qkv("translate", trained, stdin="a b\n").err == ""


def test_lines_come_no_faster_than_asked_for():
    log = io.StringIO()
    progress = Progress("translate", silent_seconds=0.0, seconds_between_lines=60.0)
    with patch("sys.stderr", log), progress.chunk(3) as update:
        for _ in range(50):
            update(0)
    assert len(log.getvalue().splitlines()) == 1


@pytest.mark.parametrize(("silent", "shown"), [(0.0, True), (60.0, False)])
def test_a_terminal_gets_a_bar_which_goes_away_and_shows_only_after_a_while(
    silent: float, shown: bool
):
    log = Terminal()
    progress = Progress("translate", silent_seconds=silent)
    with patch("sys.stderr", log):
        with progress.chunk(4) as update:
            update(1)
        with progress.chunk(4) as update:
            update(0)
            update(2)
    assert ("/8" in log.getvalue()) == shown
    assert (progress.done, progress.known) == (3, 8)


def test_progress_is_called_each_step_and_its_numbers_add_up_to_the_texts(trained: Path):
    calls: list[int] = []
    load(trained).translate(["a b c d", "b", "a a"], progress=calls.append)
    assert sum(calls) == 3
    assert len(calls) >= 5  # four tokens and the end symbol


def test_one_step_is_one_step():
    log = io.StringIO()
    progress = Progress("translate", silent_seconds=0.0, seconds_between_lines=0.0)
    with patch("sys.stderr", log), progress.chunk(1) as update:
        update(0)
        update(1)
    first, second = log.getvalue().splitlines()
    assert first.endswith(" 0 s and 1 step with these") and second.endswith(" 2 steps with these")


def test_a_verb_that_waits_for_a_keyboard_says_so(trained: Path):
    class Keyboard(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    log = io.StringIO()
    with patch("sys.stdin", Keyboard(io.BytesIO(b"a b\n"))), patch("sys.stderr", log):
        assert list(read_lines(STDIN)) == ["a b"]
    assert "line by line from the keyboard; Ctrl-D ends" in log.getvalue()
    assert qkv("translate", trained, stdin="a b\n").err == ""  # a pipe is no keyboard
