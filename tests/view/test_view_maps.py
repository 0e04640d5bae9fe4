"""Attention maps without a browser: what is accepted, what is refused, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from view_figures import random_maps, soft

import qkv
from qkv.view import AttentionMaps, Figure, Viewer, Words, from_transformers, show, words
from qkv.view.html import html
from qkv.view.pack import entry, pack
from qkv.view.words import merge


def weights(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)).softmax(-1)


def test_show_makes_a_figure_of_a_matrix_and_maps_of_heads_and_layers():
    source, target = list("abcde"), list("xyz")
    assert isinstance(show(weights(3, 5), source, target), Figure)
    for heads, shape in [
        (weights(2, 3, 5), (1, 2, 3, 5)),
        (weights(7, 2, 3, 5), (7, 2, 3, 5)),
        ([weights(2, 3, 5)] * 7, (7, 2, 3, 5)),
        (weights(7, 2, 3, 5).bfloat16().requires_grad_(), (7, 2, 3, 5)),
    ]:
        assert show(heads, source, target).shape == shape
    assert show(weights(2, 5, 5), source).target == tuple(source)


def test_what_attend_returned_is_shown_with_its_mask():
    query = torch.randn(1, 2, 5, 3)
    mask = qkv.Mask.causal()
    out = qkv.attend(query, query, mask=mask, need="weights")
    maps = show(out, list("abcde"), mask=mask)
    assert maps.shape == (1, 2, 5, 5)
    np.testing.assert_array_equal(maps.forbidden(0, 1), ~np.tri(5, dtype=bool))
    with pytest.raises(ValueError, match='need="weights"'):
        show(qkv.attend(query, query), list("abcde"))
    batch = qkv.attend(query.expand(4, 2, 5, 3), query, need="weights")
    with pytest.raises(ValueError, match=r"a batch of 4; choose one item"):
        show(batch, list("abcde"))
    with pytest.raises(ValueError, match=r"Mask.keep\(t\) or Mask.drop\(t\)"):
        show(out, list("abcde"), mask=torch.ones(5, 5, dtype=torch.bool))


def test_a_weight_where_attending_is_not_allowed_is_refused_by_its_place():
    allowed = np.ones((3, 5), bool)
    allowed[1, 4] = False
    with pytest.raises(ValueError, match=r"weights\[0\]\[0, 1, 4\] is .* not allowed"):
        AttentionMaps(weights(2, 1, 3, 5), list("xyz"), list("abcde"), allowed=allowed)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": weights(2, 3, 4, 5)}, "3 target and 5 source labels"),
        ({"weights": weights(3, 5)[None]}, r"shape \(3, 5\); the weights are \[layers, heads"),
        ({"weights": []}, "no layer"),
        ({"weights": torch.full((2, 1, 3, 5), 2.0)}, r"weights\[0\]\[0, 0, 0\] is 2.0"),
        ({"kind": "cross"}, "kind is 'cross'; allowed: attention, encoder self-attention"),
        ({"allowed": np.ones((2, 3, 5), int)}, "allowed is int64"),
        ({"allowed": np.ones((4, 5), bool)}, r"bool of shape \(1, 1, 4, 5\)"),
        ({"source": "abcde"}, "source is one string"),
        ({"words": (Words(("a",), (0,)), Words(("a",), (0,)))}, "1 tokens, and there are 3"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(given, message):
    whole = {"weights": weights(2, 1, 3, 5), "target": list("xyz"), "source": list("abcde")}
    with pytest.raises(ValueError, match=message):
        AttentionMaps(**(whole | given))


@given(
    st.lists(st.booleans(), min_size=1, max_size=7),
    st.lists(st.booleans(), min_size=1, max_size=7),
)
def test_merged_to_words_every_row_keeps_its_mass(starts, others):
    axes = []
    for flags in (starts, others):
        of = np.cumsum([0, *flags])
        axes.append(Words(tuple(map(str, range(of[-1] + 1))), tuple(map(int, of))))
    given = soft(len(starts) + 1, len(others) + 1).astype(np.float64)
    merged = merge(given, *axes)
    expected = np.zeros(merged.shape)
    for i, row in enumerate(axes[0].of):
        for j, column in enumerate(axes[1].of):
            expected[row, column] += given[i, j] / axes[0].of.count(row)
    # at most 8 x 8 numbers below 1 are added, in another order
    np.testing.assert_allclose(merged, expected, rtol=0, atol=64 * np.finfo(np.float64).eps)
    means = [given[np.array(axes[0].of) == row].mean(0).sum() for row in range(len(merged))]
    np.testing.assert_allclose(merged.sum(1), means, rtol=0, atol=64 * np.finfo(np.float64).eps)


def test_tokens_are_joined_to_words_by_the_ids_of_a_tokenizer():
    found = words(["[CLS]", "atten", "##tion", "▁is", "Ġall", "[SEP]"], [None, 0, 0, 1, 2, None])
    assert found.labels == ("[CLS]", "attention", "is", "all", "[SEP]")
    assert found.of == (0, 1, 1, 2, 3, 4)
    with pytest.raises(ValueError, match="2 tokens, but 1 word ids"):
        words(["a", "b"], [0])
    with pytest.raises(ValueError, match="rise by 0 or 1"):
        Words(("a", "b"), (0, 2))


def test_selected_and_averaged_heads_say_what_they_are():
    maps = random_maps(3, 4, 5, 7)
    some = maps.select([2], [1, 3])
    assert (some.shape, some.note) == ((1, 2, 5, 7), "layers [2], heads [1, 3] of 3 x 4")
    np.testing.assert_array_equal(some.head(0, 1), maps.head(2, 3))
    mean = maps.figure(2, None)
    assert mean.note == "attention, layer 2; mean of 4 heads"
    np.testing.assert_array_equal(mean.weights, maps.weights[2].mean(0, dtype=np.float64))


@pytest.mark.parametrize(("precision", "step"), [("float16", 2.0**-11), ("uint8", 0.5 / 255)])
def test_a_rounded_page_says_so_and_is_off_by_at_most_its_step(precision, step):
    maps = random_maps(2, 3, 5, 7)
    described = entry(maps, precision)
    assert "rounded" in described["note"]
    packed = np.frombuffer(pack(maps, 1, 2, precision), {"uint8": "u1"}.get(precision, "<f2"))
    scale = described["largest"][5] / 255 if precision == "uint8" else 1
    error = np.abs(packed.reshape(5, 7) * scale - maps.head(1, 2))
    assert error.max() <= step * 1.001  # the scale is itself rounded
    assert "rounded" not in entry(maps)["note"]


def test_a_transformers_output_gives_each_kind_its_labels_and_its_mask():
    output = SimpleNamespace(
        encoder_attentions=(weights(1, 3, 5, 5),) * 2,
        decoder_attentions=(torch.eye(4).expand(1, 3, 4, 4),) * 2,
        cross_attentions=(weights(1, 3, 4, 5),) * 2,
    )
    shown = show(output, list("abcde"), list("wxyz"), "Marian")
    assert isinstance(shown, Viewer)
    assert [(one.kind, one.shape[2:]) for one in shown] == [
        ("encoder self-attention", (5, 5)),
        ("decoder self-attention", (4, 4)),
        ("cross-attention", (4, 5)),
    ]
    np.testing.assert_array_equal(shown[1].forbidden(0, 0), ~np.tri(4, dtype=bool))
    assert shown[2].forbidden(0, 0) is None
    np.testing.assert_array_equal(shown[2].head(1, 2), output.cross_attentions[1][0, 2])
    with pytest.raises(ValueError, match="needs the target's labels"):
        from_transformers(output, list("abcde"))
    with pytest.raises(ValueError, match="output_attentions=True"):
        show(SimpleNamespace(attentions=None), list("abcde"))


def test_the_steps_of_generate_are_put_together_and_padding_is_not_allowed():
    steps = tuple(
        tuple(torch.full((1, 2, 1, known), 1 / known) for _ in range(3)) for known in (1, 2, 3)
    )
    cross = tuple((weights(1, 2, 1, 5) * torch.tensor([1, 1, 1, 0, 0]),) * 3 for _ in range(3))
    output = SimpleNamespace(decoder_attentions=steps, cross_attentions=cross)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    own, across = from_transformers(output, list("abcde"), list("xyz"), attention_mask=mask)
    assert own.shape == (3, 2, 3, 3)
    uniform = np.tri(3, dtype=np.float32) / np.arange(1, 4, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(own.head(0, 0), uniform)
    assert across.shape == (3, 2, 3, 5)
    assert across.forbidden(0, 0).tolist() == [[False, False, False, True, True]] * 3


def test_a_real_transformers_model_is_shown():
    transformers = pytest.importorskip("transformers", reason="the extra qkv[hf] is not installed")
    config = transformers.BertConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=37, attn_implementation="eager",
    )  # fmt: skip
    output = transformers.BertModel(config).eval()(
        torch.tensor([[5, 17, 4, 8, 6]]), output_attentions=True
    )
    (maps,) = show(output, list("abcde"))
    assert (maps.kind, maps.shape) == ("self-attention", (2, 4, 5, 5))
    np.testing.assert_array_equal(maps.head(1, 3), output.attentions[1][0, 3].detach())


def test_a_notebook_without_the_extra_gets_the_page_in_a_frame(monkeypatch):
    monkeypatch.setattr("qkv.view.viewer.find_spec", lambda name: None)
    bundle = random_maps(2, 3, 5, 7)._repr_mimebundle_()
    assert bundle["text/html"].startswith('<iframe title="Maps" sandbox="allow-scripts ')
    assert bundle["text/plain"].startswith("Viewer('Maps', [AttentionMaps('Maps', attention, 2 l")


def test_a_page_of_maps_is_small_before_a_head_is_opened():
    maps = random_maps(12, 12, 60, 60)
    assert len(json.dumps(entry(maps))) < 500_000  # 144 pictures of 40 x 40, in base64
    assert html([maps], "t").count('<script id="head-0-') == 144


def test_the_items_of_a_batch_are_not_taken_for_heads():
    query = torch.randn(2, 5, 3)  # [batch, time, dim]
    out = qkv.attend(query, query, need="weights")
    with pytest.raises(ValueError, match=r"a batch of 2; choose one item"):
        show(out, list("abcde"))
    one = show(qkv.attend(query[:1], query[:1], need="weights"), list("abcde"))
    assert one.shape == (1, 1, 5, 5)
    assert show(out.weights, list("abcde")).shape == (1, 2, 5, 5)  # heads, since it is said so


def test_one_item_of_a_transformers_batch_is_shown_and_only_a_chosen_one():
    output = SimpleNamespace(attentions=(weights(2, 3, 5, 5),) * 2)
    with pytest.raises(ValueError, match=r"a batch of 2; .*from_transformers\(.*item="):
        show(output, list("abcde"))
    (maps,) = from_transformers(output, list("abcde"), item=1)
    np.testing.assert_array_equal(maps.head(1, 2), output.attentions[1][1, 2])
    step = SimpleNamespace(cross_attentions=((weights(4, 2, 1, 5),) * 3,) * 2)
    with pytest.raises(ValueError, match="a batch of 4"):
        show(step, list("abcde"), list("xy"))


def test_a_translation_is_shown_with_its_own_tokens(trained: Path):
    best = qkv.load(trained).translate(["a b c d"])[0][0]
    shown = show(best)
    assert isinstance(shown, Figure)
    assert shown.source == ("a", "b", "c", "d", "</s>")
    assert shown.target == (*best.text.split(), "</s>")
    assert shown.title == f"a b c d → {best.text}"
    np.testing.assert_array_equal(shown.weights, best.attention)


def test_a_label_is_shown_with_the_words_that_it_looked_at(keyword_classifier: Path):
    found = qkv.load(keyword_classifier).classify(["good x y"])[0]
    shown = show(found, title="Mine")
    assert (shown.target, len(shown.source), shown.title) == ((found.label,), 3, "Mine")
    np.testing.assert_array_equal(shown.weights[0], found.attention)


def test_what_has_no_labels_of_its_own_needs_them(without_attention: Path):
    with pytest.raises(ValueError, match="source: a label a column"):
        show(weights(3, 5))
    best = qkv.load(without_attention).translate(["a b"])[0][0]
    with pytest.raises(ValueError, match="its model has no attention"):
        show(best)
    with pytest.raises(ValueError, match=r"head 7 .* 2 heads"):
        show(weights(2, 5, 5), list("abcde")).select(heads=[7])


def test_the_labels_of_words_are_shown_with_the_words():
    tokens = [SimpleNamespace(text=word) for word in ("she", "reads")]
    tagged = SimpleNamespace(
        source=SimpleNamespace(text="she reads", tokens=tokens),
        tags=("PRON", "VERB"),
        text="PRON VERB",
        attention=weights(2, 2),
    )
    shown = show(tagged)
    assert (shown.target, shown.source) == (("PRON", "VERB"), ("she", "reads"))
