from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from small_runs import fit, qkv, tree

SOURCES = "a b c\n\nd e\ng f e d\nb\na name77 c\n"


@pytest.mark.parametrize(
    "settings",
    [
        ["--search.alpha", "1.0"],
        ["--search.alpha", "0.6", "--search.coverage", "0.3"],
        ["--search.alpha", "-1.0"],
    ],
)
@pytest.mark.parametrize("method", ["beam", "greedy"])
def test_score_gives_the_numbers_of_the_search(method: str, settings: list[str], trained: Path):
    n_best = "1" if method == "greedy" else "2"
    words = ("--n-best", n_best, "--search.method", method, *settings)
    found = qkv("translate", trained, "--json", *words, stdin=SOURCES)
    scored = qkv("score", trained, "--json", *settings, stdin=found.out)
    assert (scored.status, scored.err) == (0, "")
    outputs = [output for line in found.lines for output in json.loads(line)["outputs"]]
    assert len(outputs) == len(scored.lines) == 5 * int(n_best)
    for output, line in zip(outputs, scored.lines, strict=True):
        log_prob, score, tokens = line.split("\t")
        assert float(log_prob) == pytest.approx(output["log_prob"], abs=1e-5)
        assert float(score) == pytest.approx(output["score"], abs=1e-5)
        assert int(tokens) == len(output["ids"]) + 1


def test_score_reads_pairs_and_prefers_the_right_target(trained: Path):
    outcome = qkv("score", trained, stdin="a b c\tc b a\na b c\tb a c\n")
    right, wrong = (float(line.split("\t")[0]) for line in outcome.lines)
    assert outcome.status == 0
    assert right > wrong
    assert [line.split("\t")[2] for line in outcome.lines] == ["4", "4"]


def test_a_models_score_of_all_short_targets_sums_to_a_probability(trained: Path):
    """p(y | x) over every target of up to one token is at most 1."""
    vocabulary = json.loads((trained / "target.json").read_text())
    symbols = [chr(ord("a") + i) for i in range(7)]
    assert set(symbols) <= set(json.dumps(vocabulary))
    pairs = "".join(f"a\t{target}\n" for target in ["", *symbols])

    mass = sum(
        math.exp(float(line.split("\t")[0])) for line in qkv("score", trained, stdin=pairs).lines
    )
    assert 0.5 < mass <= 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a b c\n", "line 1: 1 columns; a line is source, tab, target"),
        ("a\tb\na\tb\tc\n", "line 2: 3 columns"),
    ],
)
@pytest.mark.parametrize("verb", ["score", "align"])
def test_a_line_that_is_no_pair_is_named(verb: str, text: str, said: str, trained: Path):
    outcome = qkv(verb, trained, stdin=text)
    assert outcome.status == 1
    assert f"qkv {verb}: standard input, {said}" in outcome.err


@pytest.mark.parametrize(
    "text",
    ["a b\n", "[1]\n", '{"source": "a"}\n', '{"source": "a", "outputs": [{"ids": ["x"]}]}\n'],
)
def test_a_line_that_is_no_output_of_translate_is_named(text: str, trained: Path):
    outcome = qkv("score", trained, "--json", stdin=text)
    assert outcome.status == 1
    assert "standard input, line 1: not a line of `qkv translate --json`" in outcome.err


def test_ids_that_the_vocabulary_does_not_have_are_refused(trained: Path):
    given = json.dumps({"source": "a", "outputs": [{"ids": [4, 9999]}]})
    outcome = qkv("score", trained, "--json", stdin=given + "\n")
    assert outcome.status == 1
    assert "9999" in outcome.err


def test_a_coverage_penalty_needs_attention(without_attention: Path):
    outcome = qkv("score", without_attention, "--search.coverage", "0.2", stdin="a\ta\n")
    assert outcome.status == 1
    assert "search.coverage" in outcome.err and "attention" in outcome.err
    assert qkv("score", without_attention, stdin="a\ta\n").status == 0


def test_links_are_those_of_the_attention_that_translate_shows(trained: Path):
    """Letters are words here, so a link is where a row is highest, the end symbol left out."""
    found = qkv("translate", trained, "--json", stdin=SOURCES)
    pairs, expected = [], []
    for line in found.lines:
        given = json.loads(line)
        for output in given["outputs"]:
            rows = [row[:-1] for row in output["attention"]][:-1]
            pairs.append(f"{given['source']}\t{output['text']}\n")
            expected.append({f"{row.index(max(row))}-{i}" for i, row in enumerate(rows)})
    assert not any("<unk>" in pair for pair in pairs[:4])

    outcome = qkv("align", trained, stdin="".join(pairs[:4]))

    assert (outcome.status, outcome.err) == (0, "")
    assert [set(line.split()) for line in outcome.lines] == expected[:4]


def test_pairs_are_the_words_of_the_texts_as_they_were_given(trained: Path):
    """The model knows neither name: the words come from the texts, not from its vocabulary."""
    outcome = qkv("align", trained, "--format", "pairs", stdin="a Zoë c\tc Zoé a\n")
    assert outcome.status == 0
    assert "<unk>" not in outcome.out
    assert "Zoë-Zoé" in outcome.out


def test_json_has_the_units_with_their_places_in_the_texts(trained: Path):
    source, target = "a  Zoë c", "c Zoé  a"
    outcome = qkv("align", trained, "--format", "json", stdin=f"{source}\t{target}\n")
    alignment = json.loads(outcome.out)
    for side, text in (("source", source), ("target", target)):
        units = alignment[side]
        assert [text[unit["start"] : unit["end"]] for unit in units] == text.split()
        assert [unit["text"] for unit in units] == text.split()


@pytest.mark.parametrize("units", ["words", "tokens"])
def test_a_matrix_has_a_labelled_row_a_target_unit_and_a_column_a_source_unit(
    units: str, trained: Path
):
    words = ("--format", "matrix", "--units", units)
    outcome = qkv("align", trained, *words, stdin="a b c\tc b\nd\td\n")
    first, second = outcome.out.rstrip("\n").split("\n\n")
    head, *rows = [line.split("\t") for line in first.splitlines()]
    assert head == ["", "a", "b", "c"]
    assert [row[0] for row in rows] == ["c", "b"]
    for row in rows:
        assert len(row) == 4
        assert sum(map(float, row[1:])) <= 1.0 + 4 * 5e-5  # rounded to four places
    assert second.splitlines()[0] == "\td"


def test_renormalised_rows_sum_to_one(trained: Path):
    words = ("--format", "matrix", "--renormalize")
    _, *rows = qkv("align", trained, *words, stdin="a b c\tc b\n").out.rstrip("\n").split("\n")
    for row in rows:
        assert sum(map(float, row.split("\t")[1:])) == pytest.approx(1.0, abs=3 * 5e-5)


def links(method: str, matrix: list[list[float]]) -> set[str]:
    """Return the links of a matrix with a row a target unit, found by looking at each cell."""
    columns = list(zip(*matrix, strict=True))
    forward = {(row.index(max(row)), i) for i, row in enumerate(matrix)}
    back = {(j, column.index(max(column))) for j, column in enumerate(columns)}
    heavy = {(j, i) for i, row in enumerate(matrix) for j, x in enumerate(row) if x >= 0.3}
    chosen = {"argmax": forward, "argmax-source": back, "mutual": forward & back}
    return {f"{j}-{i}" for j, i in chosen.get(method, heavy)}


@pytest.mark.parametrize("method", ["argmax", "argmax-source", "mutual", "threshold"])
@pytest.mark.parametrize("units", ["words", "tokens"])
def test_every_method_links_what_its_rule_says(method: str, units: str, trained: Path):
    pair = "d a g b f\tf b g a d\n"
    heavy = ("--threshold", "0.3") if method == "threshold" else ()
    words = ("--units", units, "--method", method, *heavy)
    written = qkv("align", trained, "--format", "matrix", *words, stdin=pair).out.strip("\n")
    matrix = [list(map(float, line.split("\t")[1:])) for line in written.split("\n")[1:]]
    outcome = qkv("align", trained, *words, stdin=pair)
    assert outcome.status == 0
    assert set(outcome.out.split()) == links(method, matrix)


def test_align_reads_a_file_and_a_pipe_alike(trained: Path, tmp_path: Path):
    text = "a b\tb a\nc\tc\n"
    (tmp_path / "pairs").write_text(text)
    piped = qkv("align", trained, stdin=text)
    assert qkv("align", trained, "--input", tmp_path / "pairs") == piped
    assert qkv("align", "--input", "-", trained, stdin=text) == piped


def test_a_model_without_attention_cannot_align(without_attention: Path):
    outcome = qkv("align", without_attention, stdin="a\ta\n")
    assert (outcome.status, outcome.out) == (1, "")
    assert "a rnnenc has no attention" in outcome.err


@pytest.mark.parametrize("threshold", ["0", "1.5", "-1"])
def test_a_threshold_outside_0_and_1_is_refused(threshold: str, trained: Path):
    words = ("--method", "threshold", "--threshold", threshold)
    outcome = qkv("align", trained, *words, stdin="a\ta\n")
    assert outcome.status == 1
    assert "threshold" in outcome.err


def test_gold_links_with_their_pairs_give_the_error_of_the_links_that_are_written(
    trained: Path, tmp_path: Path
):
    pairs = [("a b c", "c b a"), ("d e", "e d")]
    text = "".join(f"{source}\t{target}\n" for source, target in pairs)
    written = qkv("align", trained, stdin=text)
    gold = tmp_path / "gold.tsv"
    gold.write_text("".join(f"{s}\t{t}\t0-{len(s.split()) - 1} 0p0\n" for s, t in pairs))

    outcome = qkv("align", trained, "--gold", gold)

    assert (outcome.status, outcome.out) == (0, written.out)
    links = [set(line.split()) for line in written.lines]
    sure = sum(f"0-{n}" in one for one, n in zip(links, (2, 1), strict=True))
    possible = sure + sum("0-0" in one for one in links)
    predicted = sum(map(len, links))
    assert outcome.err == (
        f"qkv align: AER = {100 * (1 - (sure + possible) / (predicted + 2)):.2f}, "
        f"precision = {100 * possible / predicted:.2f}, recall = {100 * sure / 2:.2f} "
        f"({predicted} links, 2 sure ones)\n"
    )


def test_gold_links_alone_belong_to_the_lines_of_the_input(trained: Path, tmp_path: Path):
    pairs = "a b\tb a\nc\tc\n"
    gold = tmp_path / "gold.pharaoh"
    gold.write_text(qkv("align", trained, stdin=pairs).out)
    outcome = qkv("align", trained, "--gold", gold, stdin=pairs)
    assert outcome.err.startswith("qkv align: AER = 0.00, precision = 100.00, recall = 100.00")
    longer = qkv("align", trained, "--gold", gold, stdin=pairs + "d\td\n")
    assert longer.status == 1
    assert "3 pairs in standard input, but 2 lines of gold links" in longer.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--units", "tokens"], 2, "links of words; leave out --units tokens"),
        (["--input", "pairs.tsv"], 2, "holds the pairs as well; leave out --input"),
    ],
)
def test_gold_links_that_do_not_fit_the_question_are_refused(
    words: list[str], status: int, said: str, trained: Path, tmp_path: Path
):
    gold = tmp_path / "gold.tsv"
    gold.write_text("a\ta\t0-0\n")
    outcome = qkv("align", trained, "--gold", gold, *words)
    assert (outcome.status, outcome.out) == (status, "")
    assert said in outcome.err


@pytest.mark.parametrize("method", ["argmax", "argmax-source", "mutual"])
@pytest.mark.parametrize("words", [["--threshold", "0.5"], ["--threshold=0.3"]])
def test_a_threshold_that_no_link_depends_on_is_refused(
    words: list[str], method: str, trained: Path
):
    outcome = qkv("align", trained, "--method", method, *words, stdin="a\ta\n")
    assert (outcome.status, outcome.out) == (2, "")
    assert f"--threshold belongs to --method threshold, but the method is {method}" in outcome.err


@pytest.mark.parametrize("option", ["--search.beam", "--search.top-k", "--search.method"])
def test_score_offers_no_option_of_the_search_that_its_numbers_do_not_depend_on(
    option: str, trained: Path
):
    outcome = qkv("score", trained, option, "3", stdin="a\ta\n")
    assert (outcome.status, outcome.out) == (2, "")
    assert option in outcome.err
    shown = qkv("score", "--help").out
    assert option not in shown and "--search.alpha" in shown and "--search.coverage" in shown


def test_pairs_with_an_empty_side_get_an_empty_line_and_are_counted(trained: Path):
    outcome = qkv("align", trained, stdin="a b\tb a\n\ta\nc\t \n\t\nd\td\n")
    first, *empty, last = outcome.lines
    assert outcome.status == 0
    assert (len(first.split()), empty, last) == (2, ["", "", ""], "0-0")
    assert outcome.err == (
        "qkv align: pairs with an empty side have no links (3 of them: 2, 3, 4)\n"
    )


@pytest.fixture(scope="module")
def transformer(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of three heads, trained for an epoch."""
    return fit(tmp_path_factory.mktemp("runs") / "heads", tree(corpus, "transformer", epochs=1))


def test_every_attention_that_is_asked_for_is_aligned_by(transformer: Path):
    pair = "a b c d e\te d c b a\n"
    found = {}
    for name in ("model", "mean", "max", "1", "0.2", "1.1+shift"):
        outcome = qkv("align", transformer, "--attention", name, stdin=pair)
        assert (outcome.status, outcome.err, len(outcome.out.split())) == (0, "", 5)
        found[name] = outcome.out
    plain = qkv("align", transformer, stdin=pair)
    assert plain.out == found["model"]
    assert len(set(found.values())) > 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--attention", "head"], 1, "'head' is not known; allowed: model, mean, max"),
        (["--attention", "2.0"], 1, "2 layers of 3 heads"),
        (["--attention", "0.3"], 1, "allowed: 0 to 1, or 0.0 to 1.2"),
        (["--rank", "aer"], 2, "--rank belongs to --attention auto"),
        (["--dev", "file"], 2, "--dev belongs to --attention auto"),
        (["--symmetrize", "union"], 2, "--symmetrize belongs to --reverse RUN"),
        (["--reverse-attention", "mean"], 2, "--reverse-attention belongs to --reverse RUN"),
        (["--reverse", "RUN", "--units", "tokens"], 2, "leave out --units tokens"),
        (["--attention", "auto", "--rank", "aer"], 1, "these pairs have none"),
    ],
)
def test_a_question_that_no_attention_answers_is_refused(
    words: list[str], status: int, said: str, transformer: Path
):
    outcome = qkv("align", transformer, *words, stdin="a b\tb a\n")
    assert (outcome.status, outcome.out) == (status, "")
    assert said in outcome.err


def test_auto_says_what_it_found_and_remembers_it(transformer: Path, tmp_path: Path):
    pairs = "a b c\tc b a\n"
    first = qkv("align", transformer, "--attention", "auto", stdin=pairs)
    kept = json.loads((transformer / "attention.json").read_text())
    assert first.status == 0
    assert f"qkv align: attention {kept['attention']}, the best of 20 by agreement" in first.err
    assert f"kept in {transformer / 'attention.json'}" in first.err
    again = qkv("align", transformer, "--attention", "auto", stdin=pairs)
    assert again.out == first.out
    assert again.err == first.err.replace("kept in", "read from")
    by_hand = qkv("align", transformer, "--attention", kept["attention"], stdin=pairs)
    assert by_hand.out == first.out

    dev = tmp_path / "dev.tsv"
    dev.write_text("a b c\tc b a\t0-2 1-1 2-0\nd e\te d\t0-1 1-0\n")
    other = qkv("align", transformer, "--attention", "auto", "--dev", dev, stdin=pairs)
    assert "by aer" in other.err and "on 2 development pairs); kept in" in other.err
    assert json.loads((transformer / "attention.json").read_text())["by"] == "aer"

    every = " ".join(f"{i}p{j}" for i in range(3) for j in range(3))
    dev.write_text(f"a b c\tc b a\t{every}\n")
    qkv("align", transformer, "--attention", "auto", "--dev", dev, stdin=pairs)
    assert json.loads((transformer / "attention.json").read_text())["value"] == 0  # none is wrong


def test_two_directions_are_joined_as_asked(transformer: Path, trained: Path, tmp_path: Path):
    pairs = "a b c d\td c b a\nb\tb\n"
    back = "".join(f"{b}\t{a}\n" for a, b in (line.split("\t") for line in pairs.splitlines()))
    forward = qkv("align", transformer, "--attention", "mean", stdin=pairs)
    backward = qkv("align", trained, stdin=back)
    words = ("--attention", "mean", "--reverse", trained, "--reverse-attention", "model")
    found = {
        name: qkv("align", transformer, *words, "--symmetrize", name, stdin=pairs)
        for name in ("intersection", "union", "grow-diag")
    }
    for n in range(2):
        one = set(forward.lines[n].split())
        two = {"-".join(reversed(link.split("-"))) for link in backward.lines[n].split()}
        assert set(found["intersection"].lines[n].split()) == one & two
        assert set(found["union"].lines[n].split()) == one | two
        assert one & two <= set(found["grow-diag"].lines[n].split()) <= one | two
    auto = qkv("align", transformer, "--attention", "auto", "--reverse", trained, stdin=pairs)
    assert auto.status == 0
    assert f" of {trained}, the best of 40 by agreement" in auto.err


def test_a_model_is_not_the_reverse_of_itself(trained: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(trained)
    for other in (trained, tmp_path / "link"):
        outcome = qkv("align", trained, "--reverse", other, stdin="a b\tb a\n")
        assert (outcome.status, outcome.out) == (2, "")
        assert "the other direction" in outcome.err
