"""Our numbers are sacreBLEU's own, and evaluate is the same function everywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import sacrebleu
from torch.testing import assert_close

from qkv.evaluate import METRICS, bleu, chrf, evaluate, length_table, ter

HYPOTHESES = [
    "The cat sat on the mat .",
    "It's 3,000 km to Paris, isn't it?",
    "他们在公园里吃苹果。",
    "彼は東京で本を読んだ。",
    "",
    "naïve café",
]
REFERENCES = [
    ["The cat is on the mat.", "There is a cat on the mat."],
    ["It is 3,000 km to Paris, is it not?"],
    ["他们正在公园里吃一个苹果。", "他们在公园吃苹果。", "他们在公园里吃苹果。"],
    ["彼は東京で本を読みました。"],
    ["Not empty."],
    ["Naïve cafés"],
]
SINGLE = [several[0] for several in REFERENCES]
# sacreBLEU's layout: one stream for each first, second, third reference; None where there is none.
STREAMS = [[several[i] if i < len(several) else None for several in REFERENCES] for i in range(3)]
SACREBLEU = {
    "bleu": sacrebleu.BLEU(),
    "bleu-zh": sacrebleu.BLEU(tokenize="zh"),
    "bleu-char": sacrebleu.BLEU(tokenize="char"),
    "chrf": sacrebleu.CHRF(),
    "chrf++": sacrebleu.CHRF(word_order=2),
    "ter": sacrebleu.TER(),
}


@pytest.mark.parametrize("name", SACREBLEU)
def test_values_and_signatures_are_those_of_sacrebleu(name):
    for references, streams in ((REFERENCES, STREAMS), (SINGLE, [SINGLE])):
        score = METRICS[name].load()(HYPOTHESES, references)
        expected = SACREBLEU[name].corpus_score(HYPOTHESES, streams)
        assert score.value == expected.score
        assert score.signature == str(SACREBLEU[name].get_signature())
        assert score.name == name and "version:" in score.signature


def test_the_fixture_tells_tokenizers_and_references_apart():
    values = {bleu(HYPOTHESES, REFERENCES, tokenize=t).value for t in ("13a", "zh", "char")}
    assert len(values) == 3
    assert bleu(HYPOTHESES, SINGLE).value < bleu(HYPOTHESES, REFERENCES).value


def test_a_perfect_output_scores_100_and_an_error_rate_0():
    for name, metric in METRICS.items():
        texts = ["no", "yes"] if name == "f1-binary" else ["a b c d e", "f g h i"]
        best = 100.0 if metric.bigger_is_better else 0.0
        assert_close(metric.load()(texts, texts).value, best, rtol=1e-12, atol=0, msg=name)


def test_evaluate_is_the_metrics_side_by_side_and_a_table_by_source_length():
    sources = ["s " * n for n in (1, 2, 2, 3, 9, 3)]
    found = evaluate(HYPOTHESES, REFERENCES, ["bleu", "chrf"], sources, boundaries=(2, 3, 5))
    assert found["bleu"] == bleu(HYPOTHESES, REFERENCES)
    assert found["chrf"] == chrf(HYPOTHESES, REFERENCES)
    rows = {bucket.label: bucket for bucket in found.by_length.buckets}
    assert [(label, rows[label].count) for label in rows] == [
        ("0-2", 3),
        ("3-3", 2),
        ("4-5", 0),
        ("6+", 1),
    ]
    assert rows["0-2"].values[0] == bleu(HYPOTHESES[:3], REFERENCES[:3]).value
    two = chrf([HYPOTHESES[3], HYPOTHESES[5]], [SINGLE[3], SINGLE[5]])
    assert rows["3-3"].values[1] == two.value
    assert rows["4-5"].values == ()


def test_a_result_prints_a_table_with_signatures_and_gives_plain_json():
    found = evaluate(["K AE T"], [["K AE T", "K AA T"]], ["per", "accuracy"], ["cat"])
    assert str(found).splitlines() == [
        "metric     value  signature",
        "per         0.00  tokens:whitespace|refs:closest|n:1",
        "accuracy  100.00  tokens:whitespace|refs:any|n:1",
        "",
        "length  sentences   per  accuracy",
        "0-10            1  0.00    100.00",
        *[f"{label:<6}          0     -         -" for label in ("11-20", "21-30", "31-40")],
        *[f"{label:<6}          0     -         -" for label in ("41-50", "51-60", "61+")],
    ]
    tree = json.loads(json.dumps(found.json()))
    assert tree["scores"]["per"] == {
        "name": "per",
        "value": 0.0,
        "signature": "tokens:whitespace|refs:closest|n:1",
    }
    assert tree["by_length"]["buckets"][0]["values"] == [0.0, 100.0]
    assert evaluate(["a"], ["a"], ["wer"]).json()["by_length"] is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate([], [], ["wer"]), "nothing to evaluate"),
        (lambda: evaluate(["a"], ["a", "b"], ["wer"]), "1 hypotheses, but references for 2"),
        (lambda: evaluate(["a"], [[]], ["wer"]), "sentence 0 has no reference"),
        (lambda: evaluate("a", ["a"], ["wer"]), "lists of texts"),
        (lambda: evaluate(["a"], "a", ["wer"]), "lists of texts"),
        (lambda: evaluate(["a"], ["a"], ["blue"]), "unknown metric 'blue'; allowed: bleu"),
        (lambda: evaluate(["a"], ["a"], ["wer"])["per"], "'per' was not computed; there are: wer"),
        (lambda: bleu(["a"], ["a"], tokenize="spm"), "unknown tokenizer 'spm'; allowed: 13a"),
        (lambda: evaluate(["a"], ["a"], ["wer"], ["a", "b"]), "2 source lengths for 1"),
        (lambda: length_table(["a"], ["a"], [1], ["wer"], [5, 5]), "give rising lengths"),
        (lambda: length_table(["a"], ["a"], [1], ["wer"], []), "give rising lengths"),
    ],
)
def test_bad_input_is_refused_with_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_ter_is_better_when_smaller_and_bleu_when_bigger():
    good, bad = (["a b c d"], ["x b c y"])
    assert ter(good, good).value < ter(bad, good).value and not METRICS["ter"].bigger_is_better
    assert bleu(good, good).value > bleu(bad, good).value and METRICS["bleu"].bigger_is_better


def test_the_registry_imports_neither_sacrebleu_nor_torch_and_its_absence_is_explained():
    code = """
import sys
sys.modules["sacrebleu"] = None
from qkv.evaluate import METRICS, evaluate
assert "torch" not in sys.modules
assert evaluate(["a"], ["a"], ["wer"])["wer"].value == 0
try:
    evaluate(["a"], ["a"], ["bleu"])
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'qkv[metrics]'" in done.stdout
