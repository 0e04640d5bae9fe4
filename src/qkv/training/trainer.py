"""One update, one evaluation, one checkpoint: the parts that the training loop calls."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from qkv.config import Config
from qkv.data import BatchPlan, collate
from qkv.data.randomness import generator
from qkv.evaluate import METRICS
from qkv.folder import RunFolder
from qkv.models.build import build_model
from qkv.models.model import Model
from qkv.models.weights import load_parameters, parameters_of, save_tensors
from qkv.training import validate
from qkv.training.checkpoint import Parts, Progress, load_checkpoint, save_checkpoint
from qkv.training.distributed import Processes
from qkv.training.estimator import build_estimator
from qkv.training.objective import objective_of
from qkv.training.optimizers import build_optimizer, learning_rate
from qkv.training.precision import autocast, products
from qkv.training.snapshots import Snapshots, average
from qkv.training.task import Task


class Trainer:
    """The moving parts of a run."""

    def __init__(self, config: Config, folder: RunFolder, task: Task, group: Processes) -> None:
        self.config, self.folder, self.task, self.group = config, folder, task, group
        self.settings = config.training
        if self.settings.precision == "float16" and group.device.type != "cuda":
            raise ValueError(
                "training.precision = 'float16' needs a GPU; on a CPU use float32 or bfloat16"
            )
        torch.manual_seed(self.settings.seed)
        self.model: Model = build_model(
            config.model,
            len(task.source.vocabulary),
            len(task.target.vocabulary),
            shared=config.text.shared,
        ).to(group.device)
        self.model.learn_symbols(task.source.vocabulary.symbols)
        estimator = build_estimator(self.model, self.settings.reinforce).to(group.device)
        objective = objective_of(self.model)
        loss = objective.loss(
            self.model, self.settings.label_smoothing, estimator, self.settings.guided
        )
        self.parts = Parts(
            self.model,
            estimator,
            build_optimizer(loss.parameters(), self.settings),
            torch.amp.GradScaler(enabled=self.settings.precision == "float16"),
        )
        self.loss: nn.Module = DistributedDataParallel(loss) if group.count > 1 else loss
        self.counts = objective.counts(task.train)
        self.plan = BatchPlan(task.train.lengths, config.data.tokens_per_batch, self.settings.seed)
        self.order: tuple[int, list[list[int]]] = (-1, [])
        self.snapshots = Snapshots(folder.snapshots, last=self.settings.average)
        self.progress = Progress()
        self.since = time.monotonic()

    @property
    def identity(self) -> str:
        """Whose checkpoints this run may go on from."""
        return f"{self.folder.digest}-{self.task.digest}"

    def resume(self) -> bool:
        """Go on from the folder's checkpoint, if there is one; return whether there was."""
        if not self.folder.checkpoint.exists():
            return False
        self.progress = load_checkpoint(self.folder.checkpoint, self.parts, self.identity)
        if self.group.leads:
            self.snapshots.forget(best=self.progress.best_step, now=self.progress.step)
        self.since = time.monotonic()
        return True

    def batches(self) -> list[list[int]]:
        """Return the batches of this epoch, in order."""
        if self.order[0] != self.progress.epoch:
            self.order = (self.progress.epoch, self.plan.epoch(self.progress.epoch))
        return self.order[1]

    def share(self) -> float:
        """Return how much of the run is done, in 0..1, by the nearest of its limits."""
        limits, done = self.settings, self.progress
        shares = [(done.epoch + done.position / len(self.batches())) / limits.epochs]
        if limits.max_steps:
            shares.append(done.step / limits.max_steps)
        if limits.max_minutes:
            shares.append(done.seconds / (60 * limits.max_minutes))
        return min(1.0, max(shares))

    def ended(self) -> bool:
        """Whether a limit or the patience is used up; all processes get the same answer."""
        patience = self.settings.patience
        return self.share() >= 1 or bool(patience and self.progress.stale >= patience)

    def due(self) -> bool:
        """Whether it is time to evaluate."""
        every, done = self.settings.evaluate_every, self.progress
        return self.share() >= 1 or (done.step % every if every else done.position) == 0

    def update(self) -> None:
        """Read the next batches and change the parameters once."""
        settings, place, parts = self.settings, self.progress, self.parts
        group = self.batches()[place.position : place.position + settings.accumulate]
        rate = learning_rate(settings, place.step + 1, self.share(), place.factor)
        for group_of_parameters in parts.optimizer.param_groups:
            group_of_parameters["lr"] = rate
        # A pure function of (seed, update, process): a resumed run needs no saved random state.
        random = generator(settings.seed, "update", place.step, self.group.rank)
        torch.manual_seed(int(random.integers(2**63)))
        tokens = sum(int(self.counts[rows].sum()) for rows in group)
        self.loss.train()
        parts.optimizer.zero_grad(set_to_none=True)
        nll = 0.0
        for index, rows in enumerate(group):
            nll += self._accumulate(rows, tokens, last=index == len(group) - 1)
        parts.scaler.unscale_(parts.optimizer)
        if settings.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        parts.scaler.step(parts.optimizer)
        parts.scaler.update()
        self._advance(len(group), tokens, nll)

    def _accumulate(self, rows: list[int], tokens: int, *, last: bool) -> float:
        """Add the gradient of this process's share of a batch, per token of the whole update.

        Returns: the sum of -log p over the share.
        """
        own = self.group.share(rows)
        batch = collate(self.task.train, own or rows[:1]).to(self.group.device)
        wait = isinstance(self.loss, DistributedDataParallel) and not last
        with (
            self.loss.no_sync() if wait else nullcontext(),  # type: ignore[operator]
            products(self.settings.precision, self.group.device),
        ):
            with autocast(self.settings.precision, self.group.device):
                smoothed, plain = self.loss(
                    batch.source,
                    batch.source_lengths,
                    batch.target_in,
                    batch.target_out,
                    batch.wanted,
                )
            # DDP averages over the processes; the sum over them is wanted. A process without
            # rows of its own takes part with a zero.
            weight = self.group.count / tokens if own else 0.0
            self.parts.scaler.scale(smoothed * weight).backward()
        return float(plain) if own else 0.0

    def _advance(self, batches: int, tokens: int, nll: float) -> None:
        """Move the cursor past the batches just read.

        Raises:
            ValueError: the loss is no longer a number.
        """
        done, now = self.progress, time.monotonic()
        # The loss of all processes, and the leader's clock.
        nll, seconds = self.group.total(nll, now - self.since if self.group.leads else 0.0)
        self.since = now
        if not math.isfinite(nll) and not self.parts.scaler.is_enabled():
            raise ValueError(
                f"the loss is {nll} in step {done.step + 1}: the training diverged; lower "
                "training.learning_rate, raise training.warmup, or set training.clip"
            )
        ended = done.position + batches >= len(self.batches())
        self.progress = replace(
            done,
            step=done.step + 1,
            epoch=done.epoch + ended,
            position=0 if ended else done.position + batches,
            seconds=done.seconds + seconds,
            nll=done.nll + nll,
            tokens=done.tokens + tokens,
        )

    def record(self) -> dict[str, Any]:
        """Return the numbers since the last record, and start over."""
        done = self.progress
        self.progress = replace(done, nll=0.0, tokens=0, recorded=done.seconds)
        return {
            "step": done.step,
            "epoch": done.current_epoch,
            "loss": done.loss,
            "learning_rate": self.parts.optimizer.param_groups[0]["lr"],
            "tokens_per_second": done.tokens_per_second,
            "seconds": done.seconds,
        }

    def evaluate(self) -> dict[str, float]:
        """Measure the dev set, keep what must be kept, and return the numbers."""
        values: dict[str, float] = {}
        if self.group.leads:
            values = self._measure()
        self.group.wait()
        value, loss = self.group.total(
            values.get(self.settings.metric, 0.0), values.get("loss", 0.0)
        )
        self._judge(value, loss)
        better = self.progress.stale == 0
        if self.group.leads and (better or self.settings.average > 1):
            self.snapshots.write(self.progress.step, parameters_of(self.model))
        self.group.wait()
        self.since = time.monotonic()  # evaluation is not training time
        return {f"dev_{name}": value for name, value in values.items()}

    def _measure(self) -> dict[str, float]:
        """Return the dev values of the model as it is."""
        self.model.eval()
        return validate.measure(self.model, self.task, self.config, self.group.device)

    def _judge(self, value: float, loss: float) -> None:
        """Compare a dev value, and where it ties its loss, with the best; cut on a plateau."""
        done = self.progress
        if done.best is None or self.better((value, loss), (done.best, done.best_loss)):
            self.progress = replace(done, best=value, best_loss=loss, best_step=done.step, stale=0)
            return
        cut = self.settings.plateau_factor if self.settings.schedule == "plateau" else 1.0
        self.progress = replace(done, stale=done.stale + 1, factor=done.factor * cut)

    def better(self, found: tuple[float, float], best: tuple[float, float]) -> bool:
        """Whether a dev value and its loss beat another's: of equal values, the lower loss."""
        if found[0] == best[0]:
            return found[1] < best[1]
        bigger = self.settings.metric != "loss" and METRICS[self.settings.metric].bigger_is_better
        return found[0] > best[0] if bigger else found[0] < best[0]

    def save(self) -> None:
        """Write the checkpoint, and delete the snapshots that it does not need."""
        if self.group.leads:
            save_checkpoint(self.folder.checkpoint, self.parts, self.progress, self.identity)
            self.snapshots.forget(best=self.progress.best_step, now=self.progress.step)
        self.group.wait()

    def finish(self) -> dict[str, Any]:
        """Choose between the best weights and the average of the last, and write them."""
        record: dict[str, Any] = {}
        if self.group.leads:
            record, tensors = self._choose()
            facts = {
                "config": self.folder.digest,
                "source": self.task.source.digest,
                "target": self.task.target.digest,
            }
            save_tensors(tensors, self.folder.weights, facts)
        self.group.wait()
        return record

    def _choose(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what to say of the weights that are kept, and the weights."""
        done, metric, name = self.progress, self.settings.metric, f"dev_{self.settings.metric}"
        assert done.best is not None
        latest = self.snapshots.latest()
        if self.settings.average > 1 and len(latest) > 1:
            mean = average(latest)
            load_parameters(self.model, mean, self.folder.snapshots)
            found = self._measure()
            if self.better((found[metric], found["loss"]), (done.best, done.best_loss)):
                steps = [int(file.stem) for file in latest]
                said = {"step": done.step, "weights": "average", "of_steps": steps}
                return said | {name: found[metric]}, mean
        said = {"step": done.step, "weights": "best", "of_steps": [done.best_step]}
        return said | {name: done.best}, self.snapshots.read(done.best_step)

    def facts(self) -> str:
        """Say loss and rate in a few words."""
        done = self.progress
        return (
            f"epoch {done.current_epoch} step {done.step} loss {done.loss:.3f} "
            f"perplexity {math.exp(min(done.loss, 50)):.2f} {done.tokens_per_second:,.0f} tokens/s"
        )
