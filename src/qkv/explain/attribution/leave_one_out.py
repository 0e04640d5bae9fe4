"""Leave one out (Zeiler and Fergus 2014; Li, Monroe and Jurafsky 2016, eq. 2).

    saliency_ij = log p(y_i | x) - log p(y_i | x with the baseline's embedding at j)

The token gives way to the embedding of a pad: length and positions stay as they are, and no model
needs to know. Signed: above 0, the output is less likely without the token. Differs from the
papers: a difference, where Li et al. divide it by log p(y_i | x).
"""

from __future__ import annotations

import torch

from qkv.explain.attribution.question import ROWS, Attribution, Question, parts


@torch.no_grad()
def leave_one_out(question: Question) -> Attribution:
    """Return what each output's score loses when a token is silenced."""
    whole = question.scores(question.copies(1))
    found = []
    for part in parts(len(question.embedded), ROWS):
        rows = question.copies(len(part)).clone()
        for row, token in enumerate(part):
            rows[row, token] = question.baseline[token]
        found.append(whole - question.scores(rows))
    return Attribution(torch.cat(found).T)
