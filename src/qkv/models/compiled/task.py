"""What the compiled step is told, as it reads it: numbers in a row, most of them addresses."""

from __future__ import annotations

LANES = 32
"""Outputs of a product that are computed together: a panel of its weight."""

(
    UNIT,
    HELPER,
    UNITS,
    CHUNK,
    NUMBER,
    TEAM,
    BARRIER,
    ROWS,
    BEAMS,
    WIDTH,
    HEADS,
    INNER,
    LAYERS,
    WORDS,
    LENGTH,
    PLACES,
    CAPACITY,
    SENTENCES,
    LONGEST,
    TOLD_LAYER,
    POST,
    TABLE,
    NUMBERS,
    TOKENS,
    EMBEDDING,
    PLACE,
    PAST,
    ORIGIN,
    SOURCE,
    SENTENCE,
    LENGTHS,
    TOLD,
    OUT,
    STATES,
    READ,
    WIDE,
    CONTEXT,
    SUMS,
    SCRATCH,
    SIZE,
) = range(40)
SLOTS = 40
"""Where each number of a task stands.

UNIT: the next unit of work, HELPER: the next thread; both are counted up. UNITS of CHUNK rows are
drawn by the threads, each unit from its first layer to its last; or, UNITS = 0, the threads share
each product's columns, and wait for each other (NUMBER, TEAM, BARRIER: functions of the OpenMP
library). ROWS hypotheses, BEAMS a sentence, of WIDTH with HEADS; INNER: width of the feed-forward
network; WORDS: of the vocabulary.
LENGTH tokens before this one; PAST [LAYERS, CAPACITY, 2, HEADS, PLACES, width of a head]; ORIGIN
[LENGTH, ROWS]: in which row of PAST a hypothesis' token stands; 0: in its own. SOURCE [LAYERS, 2,
SENTENCES, HEADS, LONGEST, width of a head], LENGTHS [SENTENCES]; SENTENCE: which of them each
group of BEAMS rows reads. TOLD: weights of TOLD_LAYER, [groups, HEADS, BEAMS, LONGEST].
TABLE: for each layer the addresses that `FIELDS` names, then those of `LAST`; a norm of address 0
is none. NUMBERS: what embeddings are multiplied by, and the norms' epsilon.
OUT [ROWS, WORDS]: log-probabilities. STATES, CONTEXT [ROWS, WIDTH], WIDE [ROWS, 3 WIDTH or INNER],
READ [threads, ROWS, WIDTH] and SUMS [threads, ROWS, 2] are to be written; SCRATCH: SIZE numbers
for each thread.
"""

FIELDS = (
    "norm_own",
    "shift_own",
    "inputs",
    "inputs_bias",
    "outputs",
    "outputs_bias",
    "norm_cross",
    "shift_cross",
    "query",
    "query_bias",
    "cross",
    "cross_bias",
    "norm_inner",
    "shift_inner",
    "first",
    "first_bias",
    "second",
    "second_bias",
)
LAST = ("norm", "shift", "words", "words_bias")
