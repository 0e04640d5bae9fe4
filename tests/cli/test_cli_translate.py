from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from qkv.config import SearchConfig
from qkv.config.search import METHOD_OF
from qkv.figures import figure_of
from qkv.run import load
from small_runs import qkv

LINES = ["a b c", "", "d e", "g f e d", "  ", "b"]


def outputs(run: Path, *words: str | Path, stdin: str | bytes) -> list[dict[str, Any]]:
    """Return what `qkv translate --json` says of each line."""
    outcome = qkv("translate", run, "--json", *words, stdin=stdin)
    assert outcome.status == 0, outcome.err
    assert all("unknown to the model" in line for line in outcome.err.splitlines()), outcome.err
    return [json.loads(line) for line in outcome.lines]


def test_each_line_in_gives_a_line_out_and_empty_lines_stay_empty(trained: Path):
    outcome = qkv("translate", trained, stdin="\n".join(LINES) + "\n")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.lines == ["c b a", "", "e d", "d e f g", "", "b"]


@pytest.mark.parametrize("text", ["a b c\r\nd e\r\n", "a b c\nd e", "\ufeffa b c\nd e\n"])
def test_the_ends_of_lines_do_not_matter(text: str, trained: Path):
    assert qkv("translate", trained, stdin=text).lines == ["c b a", "e d"]


def test_nothing_in_gives_nothing_out(trained: Path):
    outcome = qkv("translate", trained)
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")


def test_a_file_a_pipe_and_a_hyphen_are_the_same(trained: Path, tmp_path: Path):
    text = "a b c\nd e\n"
    (tmp_path / "in").write_text(text)
    piped = qkv("translate", trained, stdin=text)
    assert qkv("translate", trained, "--input", tmp_path / "in") == piped
    assert qkv("translate", trained, "--input", "-", stdin=text) == piped


def test_options_may_come_before_the_run_and_its_settings_still_count(trained: Path):
    """The run searches with a beam of 2; the default of qkv is another."""
    asked = []

    def spy(run: Any, texts: Any, **options: Any) -> list[Any]:
        asked.append(options["search"])
        return [[] for _ in texts]

    with patch("qkv.run.Run.translate", spy):
        qkv("translate", "--json", "--search.alpha", "0.5", trained, stdin="a\n")
        qkv("translate", trained, "--search.alpha", "0.5", "--json", stdin="a\n")
    assert asked[0] == asked[1]
    assert (asked[0].beam, asked[0].alpha, asked[0].max_ratio) == (2, 0.5, 1.5)


def test_a_line_that_is_not_utf8_is_named(trained: Path, tmp_path: Path):
    outcome = qkv("translate", trained, stdin=b"a b\nc \xff d\n")
    assert outcome.status == 1
    assert outcome.err == (
        "qkv translate: standard input, line 2: not UTF-8 (byte 3 of the line)\n"
    )
    (tmp_path / "in").write_bytes(b"\xff\n")
    outcome = qkv("translate", trained, "--input", tmp_path / "in")
    assert f"{tmp_path / 'in'}, line 1: not UTF-8" in outcome.err


def test_a_file_that_cannot_be_read_is_an_error_of_one_line(trained: Path, tmp_path: Path):
    for path, said in ((tmp_path / "no", "No such file or directory"), (tmp_path, "directory")):
        outcome = qkv("translate", trained, "--input", path)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.startswith(f"qkv translate: {path}: ") and said in outcome.err
        assert outcome.err.count("\n") == 1


def test_several_outputs_are_numbered_scored_and_ranked(trained: Path):
    outcome = qkv("translate", trained, "--n-best", "2", stdin="a b c\n\nd e\n")
    rows = [line.split("\t") for line in outcome.lines]
    assert [row[0] for row in rows] == ["1", "1", "3", "3"]
    assert [rows[0][2], rows[2][2]] == ["c b a", "e d"]
    for best, second in (rows[:2], rows[2:]):
        assert float(best[1]) >= float(second[1])
        assert best[2] != second[2]


def test_more_outputs_than_the_beam_holds_are_refused(trained: Path):
    outcome = qkv("translate", trained, "--n-best", "3", stdin="a\n")
    assert outcome.status == 1
    assert "beam" in outcome.err and "3" in outcome.err and "2" in outcome.err


@pytest.mark.parametrize("n_best", ["0", "-1"])
def test_no_output_at_all_cannot_be_asked_for(n_best: str, trained: Path):
    outcome = qkv("translate", trained, "--n-best", n_best, stdin="a\n")
    assert outcome.status in {1, 2} and outcome.out == ""
    assert n_best in outcome.err


def test_json_tells_tokens_places_scores_and_attention(trained: Path):
    first, empty, second = outputs(trained, stdin="a  b c\n\nd e\n")
    assert (first["line"], empty["line"], second["line"]) == (1, 2, 3)
    assert (first["source"], empty["outputs"]) == ("a  b c", [])
    (output,) = first["outputs"]
    assert output["text"] == "c b a"
    assert output["truncated"] is False
    assert output["tokens"] == ["c", "b", "a"] and len(output["ids"]) == 3
    places = [(token["start"], token["end"]) for token in output["source_tokens"]]
    assert ["a  b c"[start:end] for start, end in places] == ["a", "b", "c"]
    assert output["log_prob"] <= 0
    rows = output["attention"]
    assert len(rows) == 4 and all(len(row) == 4 for row in rows)
    assert [sum(row) for row in rows] == pytest.approx([1.0] * 4, abs=1e-5)


def test_outputs_that_were_cut_off_are_marked_and_counted(trained: Path):
    words = ("--search.max-ratio", "0", "--search.max-extra", "2")
    outcome = qkv("translate", trained, "--json", *words, stdin="a b c d\ne\n")
    long, short = (json.loads(line)["outputs"][0] for line in outcome.lines)
    assert (long["truncated"], short["truncated"]) == (True, False)
    assert len(long["ids"]) == 2 and len(long["attention"]) == 2
    assert outcome.err == "qkv translate: 1 outputs cut off at their longest length\n"


def test_show_draws_the_attention_below_each_output(trained: Path):
    outcome = qkv("translate", trained, "--show", stdin="a b\n")
    assert outcome.status == 0
    assert outcome.lines[0] == "b a"
    assert len(outcome.lines) > 4
    assert "additive" in outcome.out


def test_pictures_are_written_and_announced_on_standard_error(trained: Path, tmp_path: Path):
    page, svg = tmp_path / "page.html", tmp_path / "map.svg"
    words = ("--html", page, "--svg", svg)
    outcome = qkv("translate", trained, *words, stdin="a b\n\nc d\n")
    assert (outcome.status, outcome.lines) == (0, ["b a", "", "d c"])
    written = [page, tmp_path / "map-1.svg", tmp_path / "map-2.svg"]
    assert outcome.err.splitlines() == [f"qkv translate: wrote {path}" for path in written]
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    assert all("<svg" in path.read_text(encoding="utf-8") for path in written[1:])


def test_a_png_is_written(trained: Path, tmp_path: Path):
    pytest.importorskip("resvg_py")
    path = tmp_path / "map.png"
    assert qkv("translate", trained, "--png", path, stdin="a b\n").status == 0
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_the_source_word_replaces_an_unknown_one_with_a_trace(trained: Path):
    assert qkv("translate", trained, stdin="a Zoë c\n").lines == ["c <unk> a"]
    (line,) = outputs(trained, "--replace-unknown", stdin="a  Zoë c\n")
    (output,) = line["outputs"]
    assert output["text"] == "c Zoë a"
    (trace,) = output["replaced"]
    assert (trace["position"], trace["word"], trace["text"]) == (1, "Zoë", "Zoë")
    assert "a  Zoë c"[trace["start"] : trace["end"]] == "Zoë"
    assert trace["weight"] == pytest.approx(output["attention"][1][1])


def test_a_dictionary_translates_what_it_knows_and_the_rest_is_copied(
    trained: Path, tmp_path: Path
):
    (tmp_path / "names.tsv").write_text("Zoë\tZoe\n", encoding="utf-8")
    words = ("--replace-unknown", "--dictionary", tmp_path / "names.tsv")
    assert qkv("translate", trained, *words, stdin="a Zoë c\nb Bob\n").lines == [
        "c Zoe a",
        "Bob b",
    ]


def test_a_dictionary_without_replacement_is_a_contradiction(trained: Path, tmp_path: Path):
    outcome = qkv("translate", trained, "--dictionary", tmp_path / "names.tsv", stdin="a\n")
    assert (outcome.status, outcome.out) == (2, "")
    assert "--dictionary" in outcome.err and "--replace-unknown" in outcome.err


def test_drawings_do_not_mix_with_json(trained: Path):
    outcome = qkv("translate", trained, "--json", "--show", stdin="a\n")
    assert (outcome.status, outcome.out) == (2, "")
    assert "--json and --show" in outcome.err


@pytest.mark.parametrize(
    "words", [["--show"], ["--replace-unknown"], ["--html", "x.html"], ["--svg", "x.svg"]]
)
def test_a_model_without_attention_refuses_what_needs_it_before_it_says_anything(
    words: list[str], without_attention: Path
):
    outcome = qkv("translate", without_attention, *words, stdin="a b\n")
    assert (outcome.status, outcome.out) == (1, "")
    assert "a rnnenc has no attention" in outcome.err and '"rnnsearch"' in outcome.err


def test_a_model_without_attention_translates_and_says_that_it_has_none(without_attention: Path):
    outcome = qkv("translate", without_attention, "--json", stdin="a b\n")
    assert outcome.status == 0
    (output,) = json.loads(outcome.out)["outputs"]
    assert output["attention"] is None


def test_neither_the_order_nor_the_company_of_a_line_changes_its_output(trained: Path):
    lines = ["a b c", "d e", "g f e d", "b", "a a a a a", "f g"]
    together = outputs(trained, stdin="\n".join(lines) + "\n")
    backwards = outputs(trained, stdin="\n".join(reversed(lines)) + "\n")[::-1]
    for line, one, other in zip(lines, together, backwards, strict=True):
        (alone,) = outputs(trained, stdin=line + "\n")
        for found in (one, other):
            assert found["outputs"][0]["ids"] == alone["outputs"][0]["ids"]
            assert found["outputs"][0]["log_prob"] == pytest.approx(
                alone["outputs"][0]["log_prob"], abs=1e-5
            )


@pytest.mark.parametrize("kind", ["html", "svg", "png"])
def test_a_picture_that_cannot_be_is_refused_before_anything_is_translated(
    kind: str, trained: Path, tmp_path: Path
):
    for path in (tmp_path / "a.txt", tmp_path / "absent" / f"a.{kind}"):
        outcome = qkv("translate", trained, f"--{kind}", path, stdin="a b\n")
        assert (outcome.status, outcome.out) == (2, "")
        assert f"--{kind} {path}" in outcome.err


def test_unknown_source_tokens_are_counted_and_drawn_as_they_were_written(trained: Path):
    outcome = qkv("translate", trained, "--show", stdin="a Zoë b\n")
    assert "1 source tokens are unknown to the model" in outcome.err
    run = load(trained)
    ((output,),) = run.translate(["a Zoë b"])
    assert figure_of(run, output).source == ("a", "Zoë", "b", "</s>")
    assert qkv("translate", trained, stdin="a b\n").err == ""


@pytest.mark.parametrize(
    ("option", "value", "method"),
    [
        ("--search.beam", "3", "greedy"),
        ("--search.beam", "3", "sample"),
        ("--search.top-k", "5", "beam"),
        ("--search.top_k", "5", "beam"),
        ("--search.top-p", "0.5", "greedy"),
        ("--search.temperature", "2", "beam"),
        ("--search.seed", "7", "greedy"),
    ],
)
def test_an_option_of_another_search_is_refused_with_the_one_it_belongs_to(
    option: str, value: str, method: str, trained: Path
):
    for words in ([option, value], [f"{option}={value}"]):
        outcome = qkv("translate", trained, "--search.method", method, *words, stdin="a\n")
        assert (outcome.status, outcome.out) == (2, "")
        owner = "beam" if option == "--search.beam" else "sample"
        assert f"belongs to --search.method {owner}, but the method is {method}" in outcome.err
        right = qkv("translate", trained, "--search.method", owner, *words, stdin="a\n")
        assert right.status == 0


def test_every_setting_whose_help_names_a_method_is_known_to_belong_to_it():
    shown = " ".join(qkv("translate", "--help").out.replace("│", " ").split())
    for setting in (field.name for field in fields(SearchConfig)):
        option = f"--search.{setting.replace('_', '-')} "
        assert option in shown
        words = shown[shown.index(option) :].split()[2]
        owner = words.removesuffix(":") if words in {"beam:", "sample:"} else None
        assert METHOD_OF.get(setting) == owner, setting


@pytest.mark.parametrize("text", ["", "\n  \n"])
def test_a_page_of_no_line_is_refused_with_what_the_input_holds(
    text: str, trained: Path, tmp_path: Path
):
    page = tmp_path / "page.html"
    outcome = qkv("translate", trained, "--html", page, stdin=text)
    assert (outcome.status, outcome.out.strip()) == (1, "")
    assert "standard input holds no line to translate" in outcome.err
    assert f"{page} is not written" in outcome.err
    assert not page.exists()
