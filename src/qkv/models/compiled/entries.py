"""What the compiled layers start at: a function that takes the address of a task (see `task`).

It holds no lock of the interpreter, and is called by several threads at once.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from numba import carray, njit

from qkv.attention.kernels.additive.vectors import OUTER, draw, pointer
from qkv.models.compiled import task as t
from qkv.models.compiled.attention import TOGETHER, attend, fetch_rows
from qkv.models.compiled.products import MOST, apart, product, product_8
from qkv.models.compiled.reach import ask, floats, sentence, share_of, wait, wholes
from qkv.models.compiled.rows import highest_of, less, sum_of_exponentials
from qkv.models.compiled.steps import norm, round_row
from qkv.text.vocabulary import FIRST_WORD

_FLOAT = np.float32(0)
_WHOLE = np.int64(0)
_BYTE = np.uint8(0)
_LEAST = np.float32(-math.inf)
_ALONE = np.int64(0), np.int64(1)


@njit(**OUTER)
def _open(g, states, read, gain, shift):
    """Write what a sub-layer reads: each thread of those that share the rows has its own."""
    apart()
    width = g[t.WIDTH]
    epsilon = floats(g[t.NUMBERS], (2,))[1]
    for r in range(states.shape[0]):
        if gain == 0:
            read[r, :] = states[r]
        else:
            norm(states[r], floats(gain, (width,)), floats(shift, (width,)), epsilon, read[r])


@njit(**OUTER)
def _times(g, a, layer, base, out, floor, share, tools):
    """out = max(a W + bias + base, floor), for one's share of the columns; layer: (W, notes)."""
    _round_all(g, a, tools)
    _multiply(g, a, layer, base, out, floor, share, tools)


@njit(**OUTER)
def _round_all(g, a, tools):
    """Round the rows of a product in int8."""
    apart()
    room, rounded = tools
    rows, depth = a.shape
    if g[t.EIGHT] == 0:
        return
    scales = floats(rounded, (rows,))
    held = carray(pointer(rounded + 4 * rows, _BYTE), (rows, (depth + 3) // 4 * 4))
    for r in range(rows):
        scales[r] = round_row(a[r], held[r, :depth], room[0, : t.WIDE])
        for d in range(depth, held.shape[1]):
            held[r, d] = 128


@njit(**OUTER)
def _multiply(g, a, layer, base, out, floor, share, tools):
    """The same, of rows that have been rounded if they must be."""
    apart()
    room, rounded = tools
    rows, depth = a.shape
    if g[t.EIGHT] == 0:
        given = a.ctypes.data, 4 * depth, _WHOLE, depth
        product(given, layer[0], layer[1], base, out, floor, share, room)
    else:
        words = (depth + 3) // 4
        given = rounded + 4 * rows, 4 * words, rounded, words
        product_8(given, layer[0], layer[1], base, out, floor, share, room)


@njit(**OUTER)
def _embed(g, first, states, share):
    rows, width = states.shape
    tokens = wholes(g[t.TOKENS], (g[t.ROWS],))
    scale = floats(g[t.NUMBERS], (2,))[0]
    begin, end = share_of(rows, share)
    for r in range(begin, end):
        row = floats(g[t.EMBEDDING] + 4 * width * tokens[first + r], (width,))
        at = _WHOLE
        if g[t.WRITES] == 0:
            at = first + r - sentence(g, first + r)[0]
        place = floats(g[t.PLACE] + 4 * width * at, (width,))
        for d in range(width):
            states[r, d] = row[d] * scale + place[d]


@njit(**OUTER)
def _of_sentence(g, layer, first, n, read, keys):
    """Keys of one query are all rows of its sentence."""
    width, heads = g[t.WIDTH], g[t.HEADS]
    r, at = n // heads, 4 * (n % heads) * (width // heads)
    start, count = sentence(g, first + r)
    key = read + 4 * (3 * (start - first) + 1) * width + at
    for j in range(count):
        keys[j] = key + 12 * j * width
    return count, read + 12 * r * width + at, 4 * width


@njit(**OUTER)
def _of_past(g, layer, first, n, read, keys):
    """Keys of one query are those of the tokens before it, and its own."""
    width, heads, length, places = g[t.WIDTH], g[t.HEADS], g[t.LENGTH], g[t.PLACES]
    size, r, h = width // heads, n // heads, n % heads
    past = g[t.PAST] + 4 * layer * g[t.CAPACITY] * 2 * width * places
    origin = wholes(g[t.ORIGIN], (length, g[t.ROWS]))
    for j in range(length + 1):
        row = first + r
        if g[t.ORIGIN] != 0 and j < length:
            row = origin[j, row]
        keys[j] = past + 4 * ((2 * row * heads + h) * places + j) * size
    return length + 1, read + 4 * (3 * r * width + h * size), 4 * places * width


@njit(**OUTER)
def _of_source(g, layer, first, n, read, keys):
    """Keys of one query are those of the sentence that it reads."""
    width, heads = g[t.WIDTH], g[t.HEADS]
    between = 4 * width * g[t.SOURCE_ROWS]
    r, at = n // heads, 4 * (n % heads) * (width // heads)
    start, count = sentence(g, first + r)
    for j in range(count):
        keys[j] = g[t.SOURCE] + 2 * layer * between + 4 * (start + j) * width + at
    return count, read + 4 * r * width + at, between


def _attention(keys_of, tells):
    @njit(**OUTER)
    def attention(g, layer, first, read, context, share, scratch):
        """Attention of some rows and heads; read: the address of what the queries stand in.

        While one query is compared, the keys and values of the next one are fetched: they were
        written a layer or a step ago, and the weights have passed since.
        """
        apart()
        width, heads, longest = g[t.WIDTH], g[t.HEADS], g[t.LONGEST]
        size = width // heads
        energies = scratch[:longest]
        keys = wholes(scratch[longest:].ctypes.data, (2, longest + TOGETHER))
        begin, end = share_of(context.shape[0] * heads, share)
        following = _WHOLE, _WHOLE, _WHOLE
        if begin < end:
            following = keys_of(g, layer, first, begin, read, keys[0])
        for n in range(begin, end):
            mine, other = keys[(n - begin) % 2], keys[(n - begin + 1) % 2]
            count, query, offset = following
            if n + 1 < end:
                following = keys_of(g, layer, first, n + 1, read, other)
                fetch_rows(other[: following[0]], following[2], 4 * size)
            r, h = n // heads, n % heads
            out = context.ctypes.data + 4 * (r * width + h * size)
            attend(query, mine, count, offset, out, size, energies)
            if tells and layer == g[t.TOLD_LAYER]:
                told = floats(g[t.TOLD] + 4 * ((first + r) * heads + h) * longest, (count,))
                for j in range(count):
                    told[j] = energies[j]

    return attention


_within, _continue = _attention(_of_sentence, False), _attention(_of_past, False)
_read_source = _attention(_of_source, True)


@njit(**OUTER)
def _remember(g, layer, first, together, share):
    """Keys and values of some rows and heads join the past."""
    apart()
    rows, width, heads = together.shape[0], g[t.WIDTH], g[t.HEADS]
    length, places, capacity = g[t.LENGTH], g[t.PLACES], g[t.CAPACITY]
    size = width // heads
    past = g[t.PAST] + 4 * layer * capacity * 2 * width * places
    begin, end = share_of(rows * heads, share)
    for n in range(begin, end):
        r, h = n // heads, n % heads
        mine = past + 4 * (2 * (first + r) * heads + h) * places * size
        for kind in range(2):
            new = floats(mine + 4 * (kind * places * width + length * size), (size,))
            row = together[r, (1 + kind) * width + h * size :]
            for d in range(size):
                new[d] = row[d]


@njit(**OUTER)
def _tell_alignment(g, first, rows, share):
    """The weights of one head, or the mean of all."""
    heads, longest, columns = g[t.HEADS], g[t.LONGEST], g[t.COLUMNS]
    begin, end = share_of(rows, share)
    low, high = _WHOLE, heads
    if g[t.TOLD_HEAD] >= 0:
        low, high = g[t.TOLD_HEAD], g[t.TOLD_HEAD] + 1
    scale = np.float32(1) / np.float32(high - low)
    for r in range(first + begin, first + end):
        count = sentence(g, r)[1]
        out = floats(g[t.ALIGNMENT] + 4 * r * columns, (columns,))
        out[:] = 0
        for h in range(low, high):
            told = floats(g[t.TOLD] + 4 * (r * heads + h) * longest, (count,))
            for j in range(count):
                out[j] += told[j] * scale


@njit(**OUTER)
def _sum_up(row, first, mine):
    """Add a part of a row, which begins at place `first`, to what is known of it.

    mine: max x, sum exp(x - max x), the largest that may be written, and its place.
    """
    where, count = row.ctypes.data, row.shape[0]
    start = min(max(FIRST_WORD - first, 0), count)
    best = _LEAST
    if start < count:
        best = highest_of(where + 4 * start, count - start)
    if best > mine[2]:
        at = start
        while row[at] != best:
            at += 1
        mine[2], mine[3] = best, first + at
    for j in range(start):
        best = row[j] if row[j] > best else best
    if best > mine[0]:
        mine[1] *= np.float32(math.exp(mine[0] - best))
        mine[0] = best
    if mine[0] > _LEAST:
        mine[1] += sum_of_exponentials(where, count, mine[0])
    elif not (row == _LEAST).all():
        mine[1] = math.nan


@njit(**OUTER)
def _write_words(g, first, read, layer, share, tools, scratch):
    """The last product, some panels at a time, and what is to be known of it."""
    apart()
    rows, words = read.shape[0], g[t.WORDS]
    depth = read.shape[1]
    panel = t.LANES * ((depth + 3) // 4 * 4 if g[t.EIGHT] else 4 * depth)
    note = 4 * t.LANES * (3 if g[t.EIGHT] else 1)
    begin, end = share_of((words + t.LANES - 1) // t.LANES, share)
    sums = floats(g[t.SUMS], (share[1], g[t.ROWS], 4))[share[0], first : first + rows]
    for r in range(rows):
        sums[r, 0], sums[r, 1], sums[r, 2], sums[r, 3] = _LEAST, 0, _LEAST, words
    _round_all(g, read, tools)
    for p in range(begin, end, t.PANELS):
        left = p * t.LANES
        size = min(min(p + t.PANELS, end) * t.LANES, words) - left
        part = scratch[: rows * size].reshape(rows, size)
        one = layer[0] + p * panel, layer[1] + p * note
        _multiply(g, read, one, 0, part, _LEAST, _ALONE, tools)
        for r in range(rows):
            _sum_up(part[r], left, sums[r])
            if g[t.OUT] != 0:
                out = floats(g[t.OUT] + 4 * ((first + r) * words + left), (size,))
                for j in range(size):
                    out[j] = part[r, j]


@njit(**OUTER)
def _normalise(g, first, rows, share):
    """From logits to log-probabilities: each thread has seen its share of the columns."""
    apart()
    words = g[t.WORDS]
    begin, end = share_of((words + t.LANES - 1) // t.LANES, share)
    left, right = begin * t.LANES, min(end * t.LANES, words)
    sums = floats(g[t.SUMS], (share[1], g[t.ROWS], 4))
    for r in range(first, first + rows):
        highest, best, at = sums[0, r, 0], sums[0, r, 2], sums[0, r, 3]
        for n in range(1, share[1]):
            one = sums[n, r]
            highest = one[0] if one[0] > highest else highest
            if one[2] > best:
                best, at = one[2], one[3]
        found = 0.0
        for n in range(share[1]):
            one = sums[n, r]
            if one[1] != 0:  # a share of nothing but -inf; what is no number is to be seen
                found += one[1] * math.exp(np.float64(one[0]) - highest)
        logarithm = np.float32(math.log(found))
        if g[t.OUT] != 0 and left < right:
            less(g[t.OUT] + 4 * (r * words + left), right - left, highest, logarithm)
        if share[0] == 0:
            floats(g[t.BEST] + 4 * r, (1,))[0] = (best - highest) - logarithm
            wholes(g[t.BEST_TOKEN] + 8 * r, (1,))[0] = min(np.int64(at), words - 1)


@njit(**OUTER)
def _run_layers(g, first, rooms, share, tools, scratch):
    """All layers, for some rows; what the last product reads is left in `read`."""
    apart()
    states, read, context, inside = rooms
    rows, width = states.shape
    # Rows that stand one after another, whatever their width: who knows that fills vectors.
    together = floats(inside, (rows, 3 * width))
    query, hidden = floats(inside, (rows, width)), floats(inside, (rows, g[t.INNER]))
    base = read.ctypes.data if g[t.POST] else states.ctypes.data
    _embed(g, first, states, share)
    wait(g, share)
    count = len(t.FIELDS)
    kinds = 3 if g[t.WRITES] else 2
    for layer in range(g[t.LAYERS]):
        table = wholes(g[t.TABLE] + 8 * layer * kinds * count, (kinds, count))
        for kind in range(kinds):
            f = table[kind]
            _open(g, states, read, f[0], f[1])
            if kind == 0:
                _times(g, read, (f[2], f[3]), 0, together, _LEAST, share, tools)
                wait(g, share)
                if g[t.WRITES]:
                    _remember(g, layer, first, together, share)
                    _continue(g, layer, first, inside, context, share, scratch)
                else:
                    _within(g, layer, first, inside, context, share, scratch)
            elif kind == kinds - 1:
                _times(g, read, (f[2], f[3]), 0, hidden, _FLOAT, share, tools)
            else:
                _times(g, read, (f[2], f[3]), 0, query, _LEAST, share, tools)
                wait(g, share)
                _read_source(g, layer, first, inside, context, share, scratch)
            wait(g, share)
            made = hidden if kind == kinds - 1 else context
            _times(g, made, (f[4], f[5]), base, states, _LEAST, share, tools)
            wait(g, share)


@njit(**OUTER)
def _run_rows(g, first, last, share, helper):
    """All layers and the last product, for some rows."""
    apart()
    rows, width = last - first, g[t.WIDTH]
    scratch = floats(g[t.SCRATCH] + 4 * helper * g[t.SIZE], (g[t.SIZE],))
    room = scratch[: (2 * MOST + 1) * t.LANES].reshape(2 * MOST + 1, t.LANES)
    room[2 * MOST, :] = 0
    scratch = scratch[(2 * MOST + 1) * t.LANES :]
    apiece, broad = helper * g[t.CHUNK], max(3 * width, g[t.INNER])
    own = 0 if share[1] > 1 else apiece
    states = floats(g[t.STATES] + 4 * own * width, (rows, width))
    context = floats(g[t.CONTEXT] + 4 * own * width, (rows, width))
    read = floats(g[t.READ] + 4 * apiece * width, (rows, width))
    tools = room, g[t.ROUNDED] + apiece * (broad + 8)
    rooms = states, read, context, g[t.INSIDE] + 4 * own * broad
    _run_layers(g, first, rooms, share, tools, scratch)
    count = len(t.FIELDS) * (3 if g[t.WRITES] else 2)
    f = wholes(g[t.TABLE] + 8 * g[t.LAYERS] * count, (len(t.LAST),))
    _open(g, states, read, f[0], f[1])
    if g[t.WRITES]:
        _write_words(g, first, read, (f[2], f[3]), share, tools, scratch)
        _tell_alignment(g, first, rows, share)
        wait(g, share)
        _normalise(g, first, rows, share)
        return
    broad = (width + t.LANES - 1) // t.LANES * t.LANES
    weight, notes = ((width + 3) // 4 * 4, 3) if g[t.EIGHT] else (4 * width, 1)
    _round_all(g, read, tools)
    for part in range(g[t.PARTS]):
        out = floats(g[t.SOURCE] + 4 * (part * g[t.SOURCE_ROWS] + first) * width, (rows, width))
        one = f[2] + part * broad * weight, f[3] + 4 * part * broad * notes
        _multiply(g, read, one, 0, out, _LEAST, share, tools)


def run(address):
    """An encoder, or one step of all hypotheses, with whoever else was called with this task."""
    g = carray(pointer(address, _WHOLE), (t.SLOTS,))
    helper = draw(pointer(address + 8 * t.HELPER, _WHOLE))
    if g[t.UNITS] == 0:
        share = (ask(g[t.NUMBER]), ask(g[t.TEAM])) if g[t.TEAM] else _ALONE
        _run_rows(g, _WHOLE, g[t.ROWS], share, helper)
        return
    bounds = wholes(g[t.BOUNDS], (g[t.UNITS] + 1,))
    unit = draw(pointer(address + 8 * t.UNIT, _WHOLE))
    while unit < g[t.UNITS]:
        _run_rows(g, bounds[unit], bounds[unit + 1], _ALONE, helper)
        unit = draw(pointer(address + 8 * t.UNIT, _WHOLE))
