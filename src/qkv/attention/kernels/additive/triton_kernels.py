"""The additive attention as Triton kernels: the extra `gpu`.

    tanh(a + b) = 1 - 2 r,   r = 1 / x,   x = 1 + exp(2a) exp(2b),   d tanh = 4 r (1 - r)

Exponentials are taken beforehand, once a query and once a key. Two dimensions (or keys) share one
division, which is what binds: v0 / x0 + v1 / x1 = (v0 x1 + v1 x0) / (x0 x1). Where those of an
item would overflow (see `ranges`), `exact` is set, a and b are 2a and 2b, and each pair takes one.
An x beyond CAP is brought there: its square is finite, and 1 / CAP nothing beside 1.

`forward` and `pairs` keep a tile of queries x keys in registers and go through the dimensions;
`side` keeps a tile of queries (or keys) x dimensions and goes through the other side, so that it
adds nothing across threads. Any width of the hidden layer will do.
"""

# mypy: ignore-errors
# ruff: noqa: PLR0913 - a kernel is given its pointers one by one

from __future__ import annotations

import triton
import triton.language as tl

from qkv.attention.kernels.additive.triton_ways import UNROLL

STEP = tl.constexpr(UNROLL)
NAN = tl.constexpr(tl.PropagateNan.ALL)
"""What is not a number stays so."""
QUICK, OUT_IN = tl.constexpr("rcp.approx.ftz.f32 $0, $1;"), tl.constexpr("=f,f")
"""1 / x to one unit in the last place; `/` would spend six more operations on other ranges."""


@triton.jit
def _add_terms(
    total, a, b, v, steps, width, EXACT: tl.constexpr, CAP: tl.constexpr, FAST: tl.constexpr
):
    """Add sum_d v_d r_d; a and b point at the first dimension of a tile's rows and columns."""
    for start in range(0, width, STEP):
        for k in tl.static_range(0, STEP, 2):
            d = start + k
            a0 = tl.load(a + d * steps[0])[:, None]
            a1 = tl.load(a + (d + 1) * steps[0])[:, None]
            b0 = tl.load(b + d * steps[1])[None, :]
            b1 = tl.load(b + (d + 1) * steps[1])[None, :]
            x0 = 1.0 + (tl.exp(a0 + b0) if EXACT else a0 * b0)
            x1 = 1.0 + (tl.exp(a1 + b1) if EXACT else a1 * b1)
            x0, x1 = tl.minimum(x0, CAP, NAN), tl.minimum(x1, CAP, NAN)
            shared = x0 * x1
            if FAST:
                shared = tl.inline_asm_elementwise(QUICK, OUT_IN, [shared], tl.float32, True, 1)
            else:
                shared = 1.0 / shared
            total += (tl.load(v + d) * x1 + tl.load(v + d + 1) * x0) * shared
    return total


@triton.jit
def _energies(
    a,
    b,
    v,
    exact,
    steps,
    width,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CAP: tl.constexpr,
    FAST: tl.constexpr,
):
    """v . tanh(a + b) of a tile. v is -2v, and behind its last dimension 16 parts of its sum.

    The parts are summed by a matrix product, for its layout: a thread then holds a square of the
    tile, and has far fewer numbers to load than one that holds a column.
    """
    parts = tl.load(v + width + tl.arange(0, 16))
    parts = tl.broadcast_to(parts[:, None], [16, COLUMNS])
    total = tl.dot(tl.full([ROWS, 16], 1.0, v.dtype.element_ty), parts, input_precision="ieee")
    if exact != 0:
        total = _add_terms(total, a, b, v, steps, width, True, CAP, FAST)
    else:
        total = _add_terms(total, a, b, v, steps, width, False, CAP, FAST)
    return total


@triton.jit
def _kept(allowed, steps, item, rows, columns, inside):
    """The pairs of a tile that may meet."""
    if allowed is not None:
        at = item * steps[0] + rows[:, None] * steps[1] + columns[None, :] * steps[2]
        inside = inside & (tl.load(allowed + at, mask=inside, other=0) != 0)
    return inside


@triton.jit
def _biased(energies, bias, steps, item, rows, columns, kept):
    """Add the bias, and forbid what may not meet."""
    if bias is not None:
        at = item * steps[0] + rows[:, None] * steps[1] + columns[None, :] * steps[2]
        energies += tl.load(bias + at, mask=kept, other=0.0)
    return tl.where(kept, energies, float("-inf"))


@triton.jit
def forward(
    a,
    b,
    v,
    exact,
    value,
    allowed,
    bias,
    context,
    log_normalizer,
    energies,
    sizes,
    a_steps,
    b_steps,
    allowed_steps,
    bias_steps,
    CAP: tl.constexpr,
    FAST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    READ: tl.constexpr,
):
    """Energies, softmax and context of ROWS queries, block of keys by block of keys.

    The softmax runs along (Milakov and Gimelshein 2018): what was summed is scaled down when a
    larger energy comes. Program (n, m): item and rows n, columns m of the values. `energies` are
    written where they are wanted; what may not meet is left there as it was.
    """
    queries, keys, width, read = sizes
    blocks = tl.cdiv(queries, ROWS)
    item = (tl.program_id(0) // blocks).to(tl.int64)
    rows = tl.program_id(0) % blocks * ROWS + tl.arange(0, ROWS)
    parts = tl.program_id(1) * READ + tl.arange(0, READ)
    in_rows, in_parts = rows < queries, parts < read
    slow = tl.load(exact + item)
    largest = tl.full([ROWS], float("-inf"), v.dtype.element_ty)
    summed = tl.zeros([ROWS], v.dtype.element_ty)
    mixed = tl.zeros([ROWS, READ], v.dtype.element_ty)
    for start in range(0, keys, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        in_columns = columns < keys
        inside = in_rows[:, None] & in_columns[None, :]
        kept = _kept(allowed, allowed_steps, item, rows, columns, inside)
        if tl.max(tl.max(kept.to(tl.int32), 1), 0) > 0:
            own = a + item * a_steps[0] + rows
            other = b + item * b_steps[0] + columns
            steps = a_steps[1], b_steps[1]
            tile = _energies(own, other, v, slow, steps, width, ROWS, COLUMNS, CAP, FAST)
            tile = _biased(tile, bias, bias_steps, item, rows, columns, kept)
            if energies is not None:
                at = (item * queries + rows[:, None]) * keys + columns[None, :]
                tl.store(energies + at, tile, mask=inside & (tl.program_id(1) == 0))
            before, largest = largest, tl.maximum(largest, tl.max(tile, 1))
            top = tl.where(largest == float("-inf"), 0.0, largest)
            weights, fade = tl.exp(tile - top[:, None]), tl.exp(before - top)
            summed = summed * fade + tl.sum(weights, 1)
            at = (item * keys + columns[:, None]) * read + parts[None, :]
            some = tl.load(value + at, mask=in_columns[:, None] & in_parts[None, :], other=0.0)
            some = tl.dot(weights, some.to(weights.dtype), input_precision="ieee")
            mixed = mixed * fade[:, None] + some
    dead = summed == 0
    at = (item * queries + rows[:, None]) * read + parts[None, :]
    mixed = mixed / tl.where(dead, 1.0, summed)[:, None]
    tl.store(context + at, mixed, mask=in_rows[:, None] & in_parts[None, :])
    found = tl.where(dead, float("-inf"), largest + tl.log(tl.where(dead, 1.0, summed)))
    tl.store(log_normalizer + item * queries + rows, found, mask=in_rows & (tl.program_id(1) == 0))


@triton.jit
def pairs(
    a,
    b,
    v,
    exact,
    allowed,
    bias,
    log_normalizer,
    mean,
    weights,
    out,
    sizes,
    a_steps,
    b_steps,
    allowed_steps,
    bias_steps,
    CAP: tl.constexpr,
    FAST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Energies of a tile; with a log-normaliser, weights and the gradient of the energies.

    `out` has the gradient of the weights then, and gets weight * (gradient - mean). Where nothing
    may meet, `weights` and `out` are left as 0.
    """
    queries, keys, width = sizes
    across, down = tl.cdiv(keys, COLUMNS), tl.cdiv(queries, ROWS)
    item = (tl.program_id(0) // (across * down)).to(tl.int64)
    rows = tl.program_id(0) // across % down * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS)
    in_rows, in_columns = rows < queries, columns < keys
    inside = in_rows[:, None] & in_columns[None, :]
    kept = _kept(allowed, allowed_steps, item, rows, columns, inside)
    live = tl.max(tl.max(kept.to(tl.int32), 1), 0) > 0
    at = (item * queries + rows[:, None]) * keys + columns[None, :]
    if live:
        own = a + item * a_steps[0] + rows
        other = b + item * b_steps[0] + columns
        steps, slow = (a_steps[1], b_steps[1]), tl.load(exact + item)
        tile = _energies(own, other, v, slow, steps, width, ROWS, COLUMNS, CAP, FAST)
        if log_normalizer is None:
            tl.store(out + at, tile, mask=inside)
        else:
            tile = _biased(tile, bias, bias_steps, item, rows, columns, kept)
            norm = tl.load(log_normalizer + item * queries + rows, mask=in_rows, other=0.0)
            middle = tl.load(mean + item * queries + rows, mask=in_rows, other=0.0)
            # A row of nothing but -inf has no weights: -inf - -inf would be not a number.
            weight = tl.exp(tile - tl.where(norm == float("-inf"), 0.0, norm)[:, None])
            tl.store(weights + at, weight, mask=inside)
            slope = tl.load(out + at, mask=inside, other=0.0) - middle[:, None]
            tl.store(out + at, tl.where(kept, weight * slope, 0.0), mask=inside)
    elif log_normalizer is not None:
        zeros = tl.zeros([ROWS, COLUMNS], v.dtype.element_ty)
        tl.store(weights + at, zeros, mask=inside)
        tl.store(out + at, zeros, mask=inside)


@triton.jit
def _slopes(
    own,
    other,
    g,
    sizes,
    rows,
    parts,
    EXACT: tl.constexpr,
    CAP: tl.constexpr,
    FAST: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """sum_j g_j r_j (1 - r_j) and sum_j g_j r_j of a tile, without chunks of j that have no g."""
    own_rows, others, width = sizes
    in_rows, in_parts = rows < own_rows, parts < width
    total = tl.zeros([rows.shape[0], parts.shape[0]], own.dtype)
    ratios = tl.zeros([rows.shape[0], parts.shape[0]], own.dtype)
    for start in range(0, others, CHUNK):
        chunk = start + tl.arange(0, CHUNK)
        inside = (chunk < others)[:, None] & in_rows[None, :]
        some = tl.load(g + chunk[:, None] * own_rows + rows[None, :], mask=inside, other=0.0)
        if tl.max(tl.max((some != 0).to(tl.int32), 1), 0) > 0:
            for j in range(start, tl.minimum(start + CHUNK, others), 2):
                second = j + 1 < others
                at, then = j * own_rows + rows, (j + 1) * own_rows + rows
                g0 = tl.load(g + at, mask=in_rows, other=0.0)[:, None]
                g1 = tl.load(g + then, mask=in_rows & second, other=0.0)[:, None]
                at, then = j * width + parts, (j + 1) * width + parts
                b0 = tl.load(other + at, mask=in_parts, other=0.0)[None, :]
                b1 = tl.load(other + then, mask=in_parts & second, other=0.0)[None, :]
                x0 = 1.0 + (tl.exp(own + b0) if EXACT else own * b0)
                x1 = 1.0 + (tl.exp(own + b1) if EXACT else own * b1)
                x0, x1 = tl.minimum(x0, CAP, NAN), tl.minimum(x1, CAP, NAN)
                shared = x0 * x1
                if FAST:
                    shared = tl.inline_asm_elementwise(
                        QUICK, OUT_IN, [shared], tl.float32, True, 1
                    )
                else:
                    shared = 1.0 / shared
                r0, r1 = x1 * shared, x0 * shared
                total += g0 * (r0 - r0 * r0)
                total += g1 * (r1 - r1 * r1)
                ratios += g0 * r0
                ratios += g1 * r1
    return total, ratios


@triton.jit
def side(
    own,
    other,
    g,
    exact,
    to_own,
    to_v,
    sizes,
    item_steps,
    CAP: tl.constexpr,
    FAST: tl.constexpr,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """The gradient of one side but for 4 v, and of v: sum_ij g r, a part for each block of rows.

    own [items, rows, width], other [items, others, width], g [items, others, rows], to_v
    [items, blocks of rows, width].
    """
    own_rows, others, width = sizes
    blocks = tl.cdiv(own_rows, ROWS)
    item = (tl.program_id(0) // blocks).to(tl.int64)
    block = tl.program_id(0) % blocks
    rows = block * ROWS + tl.arange(0, ROWS)
    parts = tl.program_id(1) * PARTS + tl.arange(0, PARTS)
    inside = (rows < own_rows)[:, None] & (parts < width)[None, :]
    at = rows[:, None] * width + parts[None, :]
    mine = tl.load(own + item * item_steps[0] + at, mask=inside, other=0.0)
    other += item * item_steps[1]
    g += item * own_rows * others
    if tl.load(exact + item) != 0:
        total, ratios = _slopes(mine, other, g, sizes, rows, parts, True, CAP, FAST, CHUNK)
    else:
        total, ratios = _slopes(mine, other, g, sizes, rows, parts, False, CAP, FAST, CHUNK)
    tl.store(to_own + item * own_rows * width + at, total, mask=inside)
    if to_v is not None:
        at = (item * blocks + block) * width + parts
        tl.store(to_v + at, tl.sum(tl.where(inside, ratios, 0.0), 0), mask=parts < width)
