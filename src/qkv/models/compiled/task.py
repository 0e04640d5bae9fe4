"""What the compiled loops are told, as they read it: numbers in a row, most of them addresses."""

from __future__ import annotations

LANES = 32
"""Outputs of a product that are computed together: a panel of its weight."""
WIDE = 16
"""Numbers of a vector."""
PANELS = 8
"""Panels of the output layer whose products stay in the fastest cache."""

(
    UNIT,
    HELPER,
    UNITS,
    BOUNDS,
    CHUNK,
    NUMBER,
    TEAM,
    BARRIER,
    ROWS,
    WIDTH,
    HEADS,
    INNER,
    LAYERS,
    POST,
    EIGHT,
    TABLE,
    NUMBERS,
    EMBEDDING,
    WORDS,
    LONGEST,
    TOLD_LAYER,
    TOLD_HEAD,
    TOLD,
    STATES,
    READ,
    INSIDE,
    CONTEXT,
    ROUNDED,
    SUMS,
    SCRATCH,
    SIZE,
    BEAMS,
    TOKENS,
    PLACE,
    START,
    COUNT,
    SOURCE,
    SOURCE_ROWS,
    PARTS,
    COLUMNS,
    SENTENCE,
    WRITES,
    LENGTH,
    PLACES,
    CAPACITY,
    PAST,
    ORIGIN,
    ALIGNMENT,
    OUT,
    BEST,
    BEST_TOKEN,
) = range(51)
SLOTS = 51
"""Where each number of a task stands; from BEAMS on it is of one call.

UNIT: the next unit of work, HELPER: the next thread; both are counted up. UNITS are drawn by the
threads, each from its first layer to its last; BOUNDS [UNITS + 1]: the rows where they begin and
end, at most CHUNK a unit. Or, UNITS = 0, the threads share each product's columns, and wait for
each other (NUMBER, TEAM, BARRIER: functions of the OpenMP library); CHUNK is then ROWS.
ROWS tokens, of WIDTH with HEADS; INNER: width of the feed-forward network. POST: norms stand after
the sub-layers. EIGHT: products are in int8.
TABLE: see `FIELDS` and `LAST`; a norm of address 0 is none. NUMBERS: what embeddings are
multiplied by, and the norms' epsilon. PLACE: the vector of the first position.
START, COUNT [sentences]: where each sentence begins in the source, and its tokens.
SOURCE [PARTS, SOURCE_ROWS, WIDTH]: keys and values for one decoder layer after another.
LONGEST: keys that any query meets, as whole vectors.

WRITES = 0, an encoder: ROWS are the source's tokens, sentence after sentence; SENTENCE [ROWS]:
whose each is. Into SOURCE go its products with LAST's weight.
WRITES = 1, a step of a decoder: ROWS hypotheses, BEAMS a sentence. LENGTH tokens before this one;
PAST [LAYERS, CAPACITY, 2, HEADS, PLACES, width of a head]; ORIGIN [LENGTH, ROWS]: in which row of
PAST a hypothesis' token stands; 0: in its own. SENTENCE [ROWS / BEAMS]: which of the source each
group reads; ALIGNMENT [ROWS, COLUMNS]: weights of TOLD_LAYER and TOLD_HEAD, -1: the heads' mean;
TOLD [ROWS, HEADS, LONGEST]: of all its heads. OUT [ROWS, WORDS]: log-probabilities; 0: they
are not asked for; BEST, BEST_TOKEN [ROWS]: the largest of those from FIRST_WORD on.

STATES, CONTEXT [rows, WIDTH], INSIDE [rows, 3 WIDTH or INNER], READ [rows, WIDTH] and ROUNDED
[rows, 4 + bytes of a row of INSIDE] are to be written: CHUNK rows for each thread, but where
threads share columns they share the first three. SUMS [threads, ROWS, 4]; SCRATCH: SIZE numbers
for each thread.
"""

FIELDS = ("norm", "shift", "inputs", "inputs_notes", "outputs", "outputs_notes")
"""What TABLE holds for each sub-layer: attention, attention to the source, feed-forward."""
LAST = ("norm", "shift", "weight", "notes")
"""What it holds after them."""
