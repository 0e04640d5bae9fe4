"""What the compiled step starts at: a function that takes the address of a task (see `task`).

It holds no lock of the interpreter, and is called by several threads at once.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from qkv.attention.kernels.additive.vectors import OUTER, draw, pointer
from qkv.models.compiled import task as t
from qkv.models.compiled.products import MOST, apart, product
from qkv.models.compiled.steps import highest_and_sum, mix, norm, score, softmax

_FLOAT = np.float32(0)
_WHOLE = np.int64(0)
_LEAST = np.float32(-math.inf)


@intrinsic
def _ask(context, address):
    """Call a C function that returns an int."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(32), []).as_pointer()
        found = builder.call(builder.inttoptr(arguments[0], kind), [])
        return builder.sext(found, ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic
def _tell(context, address):
    """Call a C function that returns nothing."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), []).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), [])
        return context.get_dummy_value()

    return types.none(types.int64), generate


@njit(**OUTER)
def _floats(address, shape):
    return carray(pointer(address, _FLOAT), shape)


@njit(**OUTER)
def _wholes(address, shape):
    return carray(pointer(address, _WHOLE), shape)


@njit(**OUTER)
def _wait(g, share):
    """Wait for the others that share these rows."""
    if share[1] > 1:
        _tell(g[t.BARRIER])


@njit(**OUTER)
def _open(g, states, read, gain, shift):
    """Write what a sub-layer reads: each thread of those that share the rows has its own."""
    apart()
    width = g[t.WIDTH]
    epsilon = _floats(g[t.NUMBERS], (2,))[1]
    for r in range(states.shape[0]):
        if gain == 0:
            read[r, :] = states[r]
        else:
            norm(states[r], _floats(gain, (width,)), _floats(shift, (width,)), epsilon, read[r])


@njit(**OUTER)
def _embed(g, first, states, share):
    rows, width = states.shape
    tokens = _wholes(g[t.TOKENS], (g[t.ROWS],))
    place = _floats(g[t.PLACE], (width,))
    scale = _floats(g[t.NUMBERS], (2,))[0]
    for r in range(rows * share[0] // share[1], rows * (share[0] + 1) // share[1]):
        row = _floats(g[t.EMBEDDING] + 4 * width * tokens[first + r], (width,))
        for d in range(width):
            states[r, d] = row[d] * scale + place[d]


@njit(**OUTER)
def _continue(g, layer, first, together, context, share, scratch):
    """Self-attention of some rows and heads; their keys and values join the past."""
    apart()
    rows, width, heads = context.shape[0], g[t.WIDTH], g[t.HEADS]
    length, places, capacity = g[t.LENGTH], g[t.PLACES], g[t.CAPACITY]
    size = width // heads
    past = _floats(
        g[t.PAST] + 4 * layer * capacity * 2 * width * places, (capacity, 2, heads, places, size)
    )
    origin = _wholes(g[t.ORIGIN], (length, g[t.ROWS]))
    pairs = rows * heads
    for n in range(pairs * share[0] // share[1], pairs * (share[0] + 1) // share[1]):
        r, h = n // heads, n % heads
        at, mine = h * size, first + r
        for kind in range(2):
            new = together[r, (1 + kind) * width + at : (1 + kind) * width + at + size]
            past[mine, kind, h, length, :] = new
        energies = scratch[: length + 1]
        query, out = together[r, at : at + size], context[r, at : at + size]
        out[:] = 0
        if g[t.ORIGIN] == 0:
            score(query, past[mine, 0, h, : length + 1], energies)
            softmax(energies)
            mix(energies, past[mine, 1, h, : length + 1], out)
        else:
            for j in range(length + 1):
                row = mine if j == length else origin[j, mine]
                score(query, past[row, 0, h, j : j + 1], energies[j : j + 1])
            softmax(energies)
            for j in range(length + 1):
                row = mine if j == length else origin[j, mine]
                mix(energies[j : j + 1], past[row, 1, h, j : j + 1], out)


@njit(**OUTER)
def _read_source(g, layer, first, query, context, share, scratch):
    """Attention of some rows and heads to the source, and the weights where they are asked."""
    apart()
    rows, width, heads = context.shape[0], g[t.WIDTH], g[t.HEADS]
    sentences, longest, beams = g[t.SENTENCES], g[t.LONGEST], g[t.BEAMS]
    size = width // heads
    source = _floats(
        g[t.SOURCE] + 4 * layer * 2 * sentences * width * longest,
        (2, sentences, heads, longest, size),
    )
    sentence = _wholes(g[t.SENTENCE], (g[t.ROWS] // beams,))
    lengths = _wholes(g[t.LENGTHS], (sentences,))
    told = _floats(g[t.TOLD], (g[t.ROWS] // beams, heads, beams, longest))
    pairs = rows * heads
    for n in range(pairs * share[0] // share[1], pairs * (share[0] + 1) // share[1]):
        r, h = n // heads, n % heads
        at, group = h * size, (first + r) // beams
        s = sentence[group]
        energies = scratch[: lengths[s]]
        score(query[r, at : at + size], source[0, s, h, : lengths[s]], energies)
        softmax(energies)
        out = context[r, at : at + size]
        out[:] = 0
        mix(energies, source[1, s, h, : lengths[s]], out)
        if layer == g[t.TOLD_LAYER]:
            row = told[group, h, (first + r) % beams]
            row[: lengths[s]] = energies
            row[lengths[s] :] = 0


@njit(**OUTER)
def _normalise(g, first, out, share, scratch):
    """From logits to log-probabilities: each thread has seen its share of the columns."""
    apart()
    rows, words = out.shape
    panels = (words + t.LANES - 1) // t.LANES
    left = panels * share[0] // share[1] * t.LANES
    right = min(panels * (share[0] + 1) // share[1] * t.LANES, words)
    sums = _floats(g[t.SUMS], (share[1], g[t.ROWS], 2))
    for r in range(rows):
        sums[share[0], first + r, 0] = -math.inf
        if left < right:
            found = highest_and_sum(out[r, left:right], scratch)
            sums[share[0], first + r, 0], sums[share[0], first + r, 1] = found
    _wait(g, share)
    for r in range(rows):
        highest = sums[0, first + r, 0]
        for n in range(1, share[1]):
            one = sums[n, first + r, 0]
            highest = one if one > highest else highest
        found = 0.0
        for n in range(share[1]):
            one = sums[n, first + r, 0]
            if one != -math.inf:  # not a number is to be seen
                found += sums[n, first + r, 1] * math.exp(np.float64(one) - highest)
        logarithm = np.float32(math.log(found))
        part = out[r, left:right]
        for j in range(part.shape[0]):
            part[j] = (part[j] - highest) - logarithm


@njit(**OUTER)
def _run_rows(g, first, last, share, scratch):
    """All layers, for some rows."""
    apart()
    rows, width, inner = last - first, g[t.WIDTH], g[t.INNER]
    broad = max(3 * width, inner)
    room = scratch[: (2 * MOST + 1) * t.LANES].reshape(2 * MOST + 1, t.LANES)
    room[2 * MOST, :] = 0
    scratch = scratch[(2 * MOST + 1) * t.LANES :]
    states = _floats(g[t.STATES] + 4 * first * width, (rows, width))
    context = _floats(g[t.CONTEXT] + 4 * first * width, (rows, width))
    read = _floats(g[t.READ] + 4 * (share[0] * g[t.ROWS] + first) * width, (rows, width))
    base = read.ctypes.data if g[t.POST] else states.ctypes.data
    # Rows that stand one after another, whatever their width: who knows that fills vectors.
    rooms = g[t.WIDE] + 4 * first * broad
    together, hidden = _floats(rooms, (rows, 3 * width)), _floats(rooms, (rows, inner))
    query = _floats(rooms, (rows, width))
    _embed(g, first, states, share)
    _wait(g, share)
    count = len(t.FIELDS)
    table = _wholes(g[t.TABLE], (g[t.LAYERS] * count + len(t.LAST),))
    for layer in range(g[t.LAYERS]):
        f = table[layer * count : (layer + 1) * count]
        _open(g, states, read, f[0], f[1])
        product(read, f[2], f[3], 0, together, _LEAST, share, room)
        _wait(g, share)
        _continue(g, layer, first, together, context, share, scratch)
        _wait(g, share)
        product(context, f[4], f[5], base, states, _LEAST, share, room)
        _wait(g, share)
        _open(g, states, read, f[6], f[7])
        product(read, f[8], f[9], 0, query, _LEAST, share, room)
        _wait(g, share)
        _read_source(g, layer, first, query, context, share, scratch)
        _wait(g, share)
        product(context, f[10], f[11], base, states, _LEAST, share, room)
        _wait(g, share)
        _open(g, states, read, f[12], f[13])
        product(read, f[14], f[15], 0, hidden, _FLOAT, share, room)
        _wait(g, share)
        product(hidden, f[16], f[17], base, states, _LEAST, share, room)
        _wait(g, share)
    f = table[g[t.LAYERS] * count :]
    _open(g, states, read, f[0], f[1])
    out = _floats(g[t.OUT] + 4 * first * g[t.WORDS], (rows, g[t.WORDS]))
    product(read, f[2], f[3], 0, out, _LEAST, share, room)
    _normalise(g, first, out, share, scratch)


def step(address):
    """One step of all hypotheses, with whoever else was called with this task."""
    g = carray(pointer(address, _WHOLE), (t.SLOTS,))
    helper = draw(pointer(address + 8 * t.HELPER, _WHOLE))
    scratch = _floats(g[t.SCRATCH] + 4 * helper * g[t.SIZE], (g[t.SIZE],))
    if g[t.UNITS] == 0:
        share = (_ask(g[t.NUMBER]), _ask(g[t.TEAM])) if g[t.TEAM] else (_WHOLE, _WHOLE + 1)
        _run_rows(g, _WHOLE, g[t.ROWS], share, scratch)
        return
    unit = draw(pointer(address + 8 * t.UNIT, _WHOLE))
    while unit < g[t.UNITS]:
        first = unit * g[t.CHUNK]
        last = min(first + g[t.CHUNK], g[t.ROWS])
        _run_rows(g, first, last, (_WHOLE, _WHOLE + 1), scratch)
        unit = draw(pointer(address + 8 * t.UNIT, _WHOLE))
