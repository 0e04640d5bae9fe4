"""About ten lines of Python for each mechanism; the pictures are drawn with the same parts.

A slot has one text, into which goes the expression that builds the mechanism. Where a name and the
widths are enough the slot's `build` is it, so that a new mechanism needs nothing here; the others
stand in `PARTS`.
"""

from __future__ import annotations

PARTS = {
    "cosine": "qkv.scores.Cosine(beta=6.0)",
    "keep": "qkv.Mask.keep(torch.arange(13)[None, :] < 9)",
    "lengths": "qkv.Mask.lengths(torch.tensor([9]))",
    "causal": "qkv.Mask.causal()",
    "window": "qkv.Mask.window(2, 2)",
    "dilated": "qkv.Mask.dilated(2, 3)",
    "strided": "qkv.Mask.strided(4)",
    "block": "qkv.Mask.block(4)",
    "global_": "qkv.Mask.global_([0, 6])",
    "random": "qkv.Mask.random(3, seed=1)",
    "around": "qkv.Mask.around(torch.arange(13.0), 2)",
    "per_head": "qkv.Mask.per_head([qkv.Mask.causal(), qkv.Mask.window(2, 2)])",
    "sparse_transformer_strided": "qkv.masks.sparse_transformer_strided(4)",
    "sparse_transformer_fixed": "qkv.masks.sparse_transformer_fixed(4, 1)",
    "longformer": "qkv.masks.longformer(1, [0])",
    "bigbird": "qkv.masks.bigbird(1, [0], 2)",
    "star_transformer": "qkv.masks.star_transformer(relay=0)",
    "relative_buckets": "qkv.biases.RelativeBuckets(8, buckets=8, max_distance=12)",
    "gaussian": "qkv.reweighters.Gaussian(torch.arange(14.0)[None], sigma=2.0)",
    "interpolate": (
        "qkv.reweighters.Interpolate(\n"
        "    torch.full((1, 14), 0.5), torch.eye(13)[:1].expand(1, 14, 13)\n"
        ")"
    ),
    "shift": "qkv.reweighters.Shift(torch.tensor([0.0, 0.2, 0.8]).expand(1, 14, 3))",
    "sharpen": "qkv.reweighters.Sharpen(torch.full((1, 14), 3.0))",
    "chain": (
        "qkv.reweighters.Chain(\n"
        "    (\n"
        "        qkv.reweighters.Shift(torch.tensor([0.0, 0.2, 0.8]).expand(1, 14, 3)),\n"
        "        qkv.reweighters.Sharpen(torch.full((1, 14), 3.0)),\n"
        "    )\n"
        ")"
    ),
}

_ASK = """\
import torch
import qkv

query = torch.randn(1, 14, 16)  # [batch, queries, width]
key = torch.randn(1, 13, 16)  # [batch, keys, width]
"""
SCORE = (
    _ASK
    + """\
mask = qkv.Mask.lengths(torch.tensor([11]))
score = {part}
out = qkv.attend(query, key, score=score, mask=mask, need="weights")
assert out.context.shape == (1, 14, 16)
print(out.weights[0, 0])  # nothing beyond the eleventh key
"""
)
MASK = """\
import torch
import qkv

words = torch.randn(1, 2, 13, 16)  # [batch, heads, time, width]
mask = {part}
print(mask)  # drawn, with the share of pairs that it keeps
out = qkv.attend(words, words, mask=mask, need="weights")
assert not out.weights[~mask.dense(13, 13).expand(1, 2, 13, 13)].any()
print(qkv.plan(words, words, mask=mask))  # how it would be computed
"""
BIAS = """\
import torch
import qkv

words = torch.randn(1, 8, 13, 16)  # [batch, heads, time, width]
bias = {part}
out = qkv.attend(words, words, bias=bias, mask=qkv.Mask.causal(), need="weights")
print(out.weights[0, 0])
print(bias(13, 13)[0])  # what the first head adds
"""
ROTARY = (
    _ASK
    + """\
rotary = {part}
out = qkv.attend(rotary(query), rotary(key), key, need="weights")
later = qkv.attend(rotary(query, 100), rotary(key, 100), key, need="weights")
torch.testing.assert_close(later.weights, out.weights, atol=1e-4, rtol=1e-4)
print(out.weights[0, 0])  # only how far apart they stand counts
"""
)
NORMALIZER = (
    _ASK
    + """\
normalizer = {part}
out = qkv.attend(query, key, normalizer=normalizer, need="weights")
print(out.weights.sum(-1))
print((out.weights == 0).float().mean())  # how many keys get nothing
"""
)
REWEIGHTER = (
    _ASK
    + """\
reweighter = {part}
out = qkv.attend(query, key, reweighter=reweighter, need="weights")
print(out.weights[0, 0])  # what multiplies the values
"""
)
LOCAL = (
    _ASK
    + """\
local = {part}
attention = qkv.Attention(score="scaled_dot", local=local)
out = attention(query, key, need="weights")
print((out.weights > 0).sum(-1))  # at most 7 keys are read
"""
)
FEATURES = (
    _ASK
    + """\
features = {part}
mask = qkv.Mask.lengths(torch.tensor([11]))
out = qkv.linear_attend(query, key, features=features, mask=mask)
told = qkv.linear_attend(query, key, features=features, mask=mask, need="weights")
torch.testing.assert_close(told.context, out.context)
print(told.weights[0, 0])  # written out only because they were asked for
"""
)
ALIGNMENT = """\
import torch
from qkv.nn.alignments import ALIGNMENTS

energies = torch.randn(1, 14, 13)  # [batch, outputs, source]
spoken = -torch.rand(1, 14, 13)  # log p(output i | it reads source position j)
real = torch.ones(1, 13, dtype=torch.bool)
alignment = {part}
prior = alignment.priors(energies, real, spoken)
print((prior + spoken).logsumexp(-1).sum())  # log p(outputs), all alignments summed
"""
NTM = """\
import torch
from qkv.nn.ntm import Address, address

memory = torch.randn(1, 13, 16)  # [batch, slots, width]
before = torch.eye(13)[:1].unsqueeze(0)  # one head, on the first slot
to = Address(
    query=torch.randn(1, 1, 16),
    strength=torch.full((1, 1, 1), 8.0),
    gate=torch.full((1, 1), 0.7),
    shifts=torch.tensor([[[0.1, 0.8, 0.1]]]),
    gamma=torch.full((1, 1), 2.0),
)
print(address(memory, to, before))
"""
MEMORY_NETWORK = """\
import torch
from qkv.nn.memory_network import MemoryNetwork

network = MemoryNetwork.adjacent(vocabulary=30, width=16, hops=3)
memories = torch.randint(1, 30, (2, 13, 4))  # [batch, memories, words]
question = torch.randint(1, 30, (2, 3))
out = network(memories, torch.tensor([13, 9]), question)
assert out.logits.shape == (2, 30)
print(out.weights[0])  # where each hop looked
"""
MULTI_HEAD = """\
import torch
import qkv

words = torch.randn(2, 13, 32)  # [batch, time, width]
mask = qkv.Mask.lengths(torch.tensor([13, 9])) & qkv.Mask.causal()
layer = qkv.MultiHeadAttention(32, heads=4, kv_heads=2)
out = layer(words, mask=mask, need="weights")
assert out.weights.shape == (2, 4, 13, 13)
print(out.context.shape)
"""
