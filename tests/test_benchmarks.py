"""The benchmarks refuse what is not the same work, and their page is what their results say."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from browser import launched

ROOT = Path(__file__).parent.parent


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Import one of the benchmarks' modules, which import each other by their bare names."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def named(name: str) -> ModuleType:
        return __import__(name)

    return named


def test_the_committed_page_and_charts_are_what_the_committed_results_give(load):
    report = load("report")
    for name, text in report.pages(report.RESULTS).items():
        path = report.PAGE.with_name(name) if name else report.PAGE
        assert path.read_text() == text, f"{path.name}: run python benchmarks/report.py"


def test_a_result_says_machine_versions_date_and_in_each_row_median_and_spread(load):
    for path in load("report").RESULTS.glob("*.json"):
        found = json.loads(path.read_text())
        assert {"processor", "cores", "threads", "python", "versions", "when"} <= set(
            found["machine"]
        )
        for row in found["rows"]:
            assert row["least"] <= row["median"] <= row["most"], (path.name, row)


def test_ways_whose_outputs_differ_are_refused_and_named(load):
    rounds = load("rounds")
    right, wrong = torch.ones(3), torch.tensor([1.0, 1.0, 1.01])
    rounds.agree({"first": lambda: [right], "same": lambda: [right.clone()]}, 1e-3)
    with pytest.raises(AssertionError, match="other computes something else"):
        rounds.agree({"first": lambda: [right], "other": lambda: [wrong]}, 1e-3)
    with pytest.raises(AssertionError, match="fewer gives 1 outputs"):
        rounds.agree({"first": lambda: [right, right], "fewer": lambda: [right]}, 1e-3)


def test_models_of_another_size_and_outputs_of_another_length_are_refused(load):
    peers = load("against_peers")
    peers.same_size({"qkv": 100, "peer": 104})
    with pytest.raises(ValueError, match="parameters differ"):
        peers.same_size({"qkv": 100, "peer": 106})
    with pytest.raises(ValueError, match="no program"):
        peers.same_size({})
    answer, skipped = {"shortest": 15, "longest": 15, "first": []}, []
    assert peers.right_lengths("qkv", [[answer], [answer]], skipped) and not skipped
    assert not peers.right_lengths("peer", [[answer], [answer | {"shortest": 14}]], skipped)
    assert skipped == ["peer: refused, not the same work: it wrote []"]


def test_a_program_that_ends_does_not_lose_the_others(load):
    asking = load("asking")

    class Fake:
        def __init__(self, works: bool) -> None:
            self.works = works

        def ask(self, **request: object) -> dict:
            if not self.works:
                raise RuntimeError("peer ended: it said nothing")
            return {"tokens": 6, "seconds": 2.0}

        def close(self) -> None:
            pass

    programs, lost = {"peer": Fake(False), "qkv": Fake(True)}, []
    found = asking.in_turn(programs, [{"seconds": 1}], 3, lost)
    assert list(found) == list(programs) == ["qkv"]
    assert lost == ["peer ended: it said nothing"]
    assert asking.rate(found["qkv"][0], "tokens") == {"median": 3.0, "least": 3.0, "most": 3.0}


def test_a_task_that_is_refused_does_not_lose_the_others(load, monkeypatch):
    operators = load("operators")

    def rows_of(name, backward, said, rates):
        assert name != "window/2048", "qkv computes something else"
        return [{"task": name}]

    monkeypatch.setattr(operators, "rows_of", rows_of)
    said = operators.argparse.Namespace(tasks=["window/2048", "causal/64"], full=True)
    rows, skipped = operators.measured(said, {})
    assert rows == [{"task": "causal/64"}] * 2
    assert skipped[-1] == "window/2048: qkv computes something else"


def test_ways_alternate_and_the_first_calls_are_not_counted(load):
    called = []
    ways = {name: lambda name=name: called.append(name) for name in ("a", "b")}
    taken = load("rounds").alternate(ways, rounds=3, least=0.0, clock=lambda: float(len(called)))
    assert called == ["a", "b"] + ["a", "b"] * 3
    assert taken == {"a": [1.0] * 3, "b": [1.0] * 3}


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_of_the_length_is_found(load, power):
    lengths = [128, 256, 512, 1024, 2048]
    found = load("rounds").slope(lengths, [3e-6 * n**power for n in lengths])
    # A quotient of sums of five products of logarithms, in float64: far below this.
    torch.testing.assert_close(found, power, atol=1e-12, rtol=0.0)


def test_the_limit_is_the_costliest_part_at_the_rate_of_the_machine(load):
    work = load("work")
    matrices = {"source": 70, "target": 110}
    costs = work.of_training(matrices, 13.0, 7.0, "float32")
    assert costs == {"products float32": 6 * (70 * 13.0 / 7.0 + 110)}
    asked = {"batch": 2, "beam": 5, "length": 3}
    costs = work.of_search(matrices, 13.0, asked, "bfloat16")
    assert costs == {
        "products bfloat16": 2 * (70 * 13.0 + 110 * 3 * 5),
        "bytes read": (70 + 110 * 3) * 2 / 2,
    }
    slow_memory = {"products bfloat16": 1e9, "bytes read": 10.0}
    assert work.limit(costs, slow_memory) == {"limit": 10.0 / 400, "bound": "bytes read"}
    fast_memory = {"products bfloat16": 1e3, "bytes read": 1e9}
    assert work.limit(costs, fast_memory)["bound"] == "products bfloat16"


@pytest.mark.parametrize("name", ["speed-rnnsearch", "speed-luong", "speed-transformer"])
def test_every_weight_matrix_is_counted_once_and_tables_of_embeddings_are_not(load, name):
    from qkv.configfile import load_config
    from qkv.models.build import build_model

    config = load_config(ROOT / f"recipes/{name}.toml")
    model = build_model(config.model, 101, 101, shared=True)
    found = load("work").weights(model)

    matrices = sum(p.numel() for n, p in model.named_parameters() if p.dim() > 1)
    tables = sum(p.numel() for n, p in model.named_parameters() if "embedding" in n)
    tied = name == "speed-transformer"  # its one table is the output layer as well
    assert sum(found.values()) == matrices - (0 if tied else tables)


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("ENGLISH", "I can't, and it's Tom\u2019s!", "i can not , and it is tom 's !"),
        ("ENGLISH", "Don't: it's 1,000.50 now-now...", "do not : it is 1,000.50 now - now ..."),
        ("FRENCH", "S'il n'a qu'une heure, l'an", "si il ne a que une heure , le an"),
        ("FRENCH", "Aujourd'hui des gens du sud vont aux bois.",
         "aujourd' hui de les gens de le sud vont à les bois ."),
    ],
)  # fmt: skip
def test_training_text_is_written_as_the_gold_links_are(load, language, text, words):
    module = load("alignment_text")
    assert module.words(text, getattr(module, language)) == words


def test_a_growth_result_has_a_column_a_length_and_the_exponent(load):
    report = load("report")
    curve = {
        "task": "window", "way": "qkv", "unit": "ms", "lengths": [512, 1024], "values": [1.5, 3.0],
        "exponent": 1.0, "limit": 0.75, "bound": "products float32",
    }  # fmt: skip
    table = report.growth_table({"curves": [curve]})
    assert table.splitlines()[-1] == (
        "| window, ms | qkv | 1.5 | 3 | 1.00 | 25% (products float32) |"
    )
    assert "T^1.00" in report.growth_chart({"curves": [curve]})


def test_the_benchmark_of_transformers_leaves_a_result(load, monkeypatch, tmp_path):
    pytest.importorskip("transformers", reason="the extra qkv[hf] is not installed")
    words = ["--lengths", "8", "--layers", "1", "--rounds", "1", "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["benchmarks/hf_gpt2.py", *words])
    load("hf_gpt2").main()
    found = json.loads((tmp_path / "hf_gpt2.json").read_text())
    assert found["command"].startswith("python benchmarks/hf_gpt2.py --lengths 8")
    ways: dict[str, list[str]] = {}
    for row in found["rows"]:
        ways.setdefault(row["task"], []).append(row["way"])
        assert row["unit"] == "ms" and 0 < row["least"] <= row["median"] <= row["most"]
    expected = {"without": ["eager", "sdpa", "qkv"], "with": ["eager", "qkv"]}
    assert ways == {
        f"8 tokens{padded}, {asked} attentions": names
        for padded in ("", ", a quarter padded")
        for asked, names in expected.items()
    }
    assert "GPT-2 of 1 layers" in load("report").pages(tmp_path)[""]


def test_the_benchmark_of_the_viewer_leaves_a_result(load, monkeypatch, tmp_path):
    with launched():  # skipped where there is none
        pass
    words = ["--tokens", "9", "--heads", "2", "--runs", "1", "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["benchmarks/viewer.py", *words])
    load("viewer").main()
    rows = json.loads((tmp_path / "viewer.json").read_text())["rows"]
    file = {row["task"] for row in rows if row["way"].startswith("file of ")}
    assert file == {f"9 tokens, {name}" for name in ("first paint", "zoom", "hover", "scroll far")}
    served = {row["task"] for row in rows if row["way"] == "served, 2 x 2 heads"}
    assert served == file | {"9 tokens, open a head"}
    assert all(row["median"] > 0 for row in rows)
    assert "headless Chromium" in load("report").pages(tmp_path)[""]


def test_every_benchmark_that_leaves_a_result_is_a_part_of_bench_full():
    makefile = (ROOT / "Makefile").read_text()
    of_a_run = {"serve.py"}  # it measures a trained model that the user names
    leaving = [
        script.name
        for script in (ROOT / "benchmarks").glob("*.py")
        if re.search(r"save\(\w+\.results", script.read_text())
    ]
    assert {"operators.py", "hf_gpt2.py", "viewer.py"} <= set(leaving)
    missing = {name for name in leaving if f"benchmarks/{name}" not in makefile}
    assert missing - of_a_run == set()


def test_a_peer_that_is_an_operator_is_imported_from_its_own_environment(
    load, monkeypatch, tmp_path
):
    """Installed by a stand-in: what is looked at is where it is found, and what is said if not."""
    install, name = load("peers.install").install, "some-peer"
    monkeypatch.setitem(install.PEERS, name, install.Peer(needs=("some-peer==1",), imports="os"))
    said = install.beside(name, tmp_path, install=False)
    assert said == "some-peer: not installed (python benchmarks/peers/install.py some-peer)"
    monkeypatch.setattr(install, "missing", lambda *_: "some-peer: no such version")
    assert install.beside(name, tmp_path) == "some-peer: no such version"

    own = tmp_path / name / "lib/python3.11/site-packages"
    own.mkdir(parents=True)
    monkeypatch.setattr(install, "missing", lambda *_: "")
    monkeypatch.setattr("sys.path", [*sys.path])
    assert "No module named 'some_peer'" in install.beside(name, tmp_path)
    (own / "some_peer.py").write_text("there = True\n")
    importlib.invalidate_caches()
    assert install.beside(name, tmp_path) == ""
    assert sys.path[-1] == str(own)  # behind the project's own packages


def test_local_attention_is_a_peer_that_is_installed_as_the_others_are(load):
    peer = load("peers.install").install.PEERS["local-attention"]
    packages = [*peer.needs, *peer.alone]
    assert all("==" in one for one in packages)  # pinned
    assert not any(one.startswith("torch==") for one in packages)  # the project's own
