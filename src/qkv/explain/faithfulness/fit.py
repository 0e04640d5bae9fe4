"""A small training loop, for models whose loss is none of the trainer's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from qkv.data import BatchPlan
from qkv.explain.faithfulness.material import Tell, Trainable
from qkv.explain.faithfulness.subject import Batch, Subject

RATE, DECAY = 1e-3, 1e-5


def fit(
    model: Trainable,
    train: Subject,
    loss: Callable[[Batch], Float[Tensor, ""]],
    judge: Callable[[], float],
    epochs: int,
    tell: Tell,
) -> None:
    """Train with both papers' optimiser, and keep the epoch that is judged best.

    Adam with amsgrad, rate 1e-3, weight decay 1e-5. The loss is a sum over the batch; judge gives
    a number that is better when it is larger.
    """
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=RATE, weight_decay=DECAY, amsgrad=True)
    plan = BatchPlan([len(one) for one in train.sequences], train.tokens_per_batch, train.seed)
    best, kept = float("-inf"), model.state_dict()
    for epoch in range(epochs):
        model.train()
        batches = plan.epoch(epoch)
        for done, rows in enumerate(batches):
            optimizer.zero_grad(set_to_none=True)
            with torch.enable_grad():
                loss(train.batch(rows)).backward()
            optimizer.step()
            tell((epoch + done / len(batches)) / epochs, f"epoch {epoch + 1} of {epochs}")
        model.train(False)
        if (found := judge()) > best:
            best, kept = found, {name: one.clone() for name, one in model.state_dict().items()}
    model.load_state_dict(kept)
