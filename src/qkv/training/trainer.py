"""One update, one evaluation, one checkpoint: the parts that the training loop calls."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from qkv.config import Config
from qkv.data import BatchPlan, collate
from qkv.evaluate import METRICS
from qkv.folder import RunFolder, digest
from qkv.models.build import build_model
from qkv.models.model import EncoderDecoder
from qkv.models.weights import load_parameters, load_tensors, parameters_of, save_tensors
from qkv.training import validate
from qkv.training.checkpoint import Progress, average, load_checkpoint, save_checkpoint
from qkv.training.distributed import Processes
from qkv.training.loss import SequenceLoss
from qkv.training.optimizers import build_optimizer, learning_rate
from qkv.training.task import Task

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Totals:
    """Sums since the last record: what the loss and the rate are computed from."""

    nll: float = 0.0
    tokens: int = 0
    since: float = field(default_factory=time.monotonic)


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
        self.model: EncoderDecoder = build_model(
            config.model,
            len(task.source.vocabulary),
            len(task.target.vocabulary),
            shared=config.text.shared,
        ).to(group.device)
        self.optimizer = build_optimizer(self.model.parameters(), self.settings)
        self.scaler = torch.amp.GradScaler(enabled=self.settings.precision == "float16")
        loss = SequenceLoss(self.model, self.settings.label_smoothing)
        self.loss: nn.Module = DistributedDataParallel(loss) if group.count > 1 else loss
        self.target_lengths = task.train.lengths[:, 1]
        self.plan = BatchPlan(task.train.lengths, config.data.tokens_per_batch, self.settings.seed)
        self.progress = Progress()
        self.order: tuple[int, list[list[int]]] = (-1, [])
        self.totals = Totals()
        self.resumed_at = time.monotonic()

    def resume(self) -> bool:
        """Go on from the folder's checkpoint, if there is one; return whether there was."""
        if not self.folder.checkpoint.exists():
            return False
        self.progress = load_checkpoint(
            self.folder.checkpoint, self.model, self.optimizer, digest(self.config)
        ).after(finished=False)
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

    def update(self) -> None:
        """Read the next batches and change the parameters once."""
        settings, place = self.settings, self.progress
        group = self.batches()[place.position : place.position + settings.accumulate]
        rate = learning_rate(settings, place.step + 1, self.share(), place.factor)
        for group_of_parameters in self.optimizer.param_groups:
            group_of_parameters["lr"] = rate
        # A pure function of (seed, update, process): a resumed run needs no saved random state.
        torch.manual_seed(hash((settings.seed, place.step, self.group.rank)) % 2**63)
        tokens = sum(int(self.target_lengths[rows].sum()) for rows in group)
        self.loss.train()
        self.optimizer.zero_grad(set_to_none=True)
        for index, rows in enumerate(group):
            self._accumulate(rows, tokens, last=index == len(group) - 1)
        self.scaler.unscale_(self.optimizer)
        if settings.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.totals.tokens += tokens
        self._advance(len(group))

    def _accumulate(self, rows: list[int], tokens: int, *, last: bool) -> None:
        """Add the gradient of this process's share of a batch, per token of the whole update."""
        own = self.group.share(rows)
        batch = collate(self.task.train, own or rows[:1]).to(self.group.device)
        wait = isinstance(self.loss, DistributedDataParallel) and not last
        with self.loss.no_sync() if wait else nullcontext():  # type: ignore[operator]
            with self.autocast():
                smoothed, plain = self.loss(
                    batch.source, batch.source_lengths, batch.target_in, batch.target_out
                )
            # DDP averages over the processes; the sum over them is wanted. A process without
            # rows of its own takes part with a zero.
            weight = self.group.count / tokens if own else 0.0
            self.scaler.scale(smoothed * weight).backward()
        if own:
            self.totals.nll += float(plain)

    def _advance(self, batches: int) -> None:
        """Move the cursor past the batches just read."""
        now = time.monotonic()
        position = self.progress.position + batches
        ended = position >= len(self.batches())
        seconds = self.progress.seconds + now - self.resumed_at
        self.resumed_at = now
        if self.settings.max_minutes and self.group.count > 1:
            seconds = self.group.total(seconds if self.group.leads else 0.0)[0]  # one clock
        self.progress = self.progress.after(
            step=self.progress.step + 1,
            epoch=self.progress.epoch + ended,
            position=0 if ended else position,
            seconds=seconds,
        )

    def record(self) -> dict[str, Any]:
        """Return the numbers since the last record, and start over."""
        (nll,) = self.group.total(self.totals.nll)
        elapsed = time.monotonic() - self.totals.since
        record = {
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "loss": nll / max(1, self.totals.tokens),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "tokens_per_second": self.totals.tokens / max(elapsed, 1e-9),
            "seconds": self.progress.seconds,
        }
        self.totals = Totals()
        return record

    def evaluate(self) -> dict[str, Any]:
        """Measure the dev set, keep what must be kept, and return the numbers."""
        values: dict[str, float] = {}
        if self.group.leads:
            self.model.eval()
            values = validate.measure(self.model, self.task, self.config, self.group.device)
        value = self.group.total(values.get(self.settings.metric, 0.0))[0]
        self._judge(value)
        if self.group.leads:
            self._snapshot(better=self.progress.stale == 0)
        self.group.wait()
        self.totals.since = self.resumed_at = time.monotonic()  # evaluation is not training time
        return {"step": self.progress.step, **{f"dev_{k}": v for k, v in values.items()}}

    def _judge(self, value: float) -> None:
        """Compare a dev value with the best, and cut the rate on a plateau."""
        done = self.progress
        if done.best is None or self.better(value, done.best):
            self.progress = done.after(best=value, best_step=done.step, stale=0)
            return
        cut = self.settings.plateau_factor if self.settings.schedule == "plateau" else 1.0
        self.progress = done.after(stale=done.stale + 1, factor=done.factor * cut)

    def better(self, value: float, best: float) -> bool:
        """Whether a dev value beats another."""
        bigger = self.settings.metric != "loss" and METRICS[self.settings.metric].bigger_is_better
        return value > best if bigger else value < best

    def _snapshot(self, *, better: bool) -> None:
        """Keep the weights: among the last ones, and as the best ones."""
        tensors, facts = parameters_of(self.model), {"step": str(self.progress.step)}
        if better:
            save_tensors(tensors, self.folder.best, facts)
        if self.settings.average > 1:
            name = f"{self.progress.step:09d}.safetensors"
            save_tensors(tensors, self.folder.snapshots / name, facts)
            for old in sorted(self.folder.snapshots.glob("*.safetensors"))[
                : -self.settings.average
            ]:
                old.unlink()

    def save(self) -> None:
        """Write the checkpoint."""
        if self.group.leads:
            save_checkpoint(
                self.folder.checkpoint,
                self.model,
                self.optimizer,
                self.progress,
                digest(self.config),
            )
        self.group.wait()

    def finish(self) -> dict[str, Any]:
        """Choose between the best weights and the average of the last, and write them."""
        if not self.group.leads:
            self.group.wait()
            return {}
        self.model.eval()
        best, _ = load_tensors(self.folder.best)
        assert self.progress.best is not None
        chosen, value, tensors = "best", self.progress.best, best
        snapshots = sorted(self.folder.snapshots.glob("*.safetensors"))
        if self.settings.average > 1 and len(snapshots) > 1:
            mean = average(snapshots)
            load_parameters(self.model, mean, self.folder.snapshots)
            values = validate.measure(self.model, self.task, self.config, self.group.device)
            if self.better(values[self.settings.metric], value):
                chosen, value, tensors = "average", values[self.settings.metric], mean
        load_parameters(self.model, tensors, self.folder.best)
        save_tensors(tensors, self.folder.weights, {"config": digest(self.config)})
        self.group.wait()
        return {
            "step": self.progress.step,
            "weights": chosen,
            f"dev_{self.settings.metric}": value,
        }

    def autocast(self) -> Any:
        """Return the context in which the forward pass runs."""
        dtype = DTYPES[self.settings.precision]
        if dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.group.device.type, dtype=dtype)

    def facts(self) -> str:
        """Say loss and rate in a few words."""
        elapsed = max(time.monotonic() - self.totals.since, 1e-9)
        loss = self.totals.nll / max(1, self.totals.tokens)
        rate = self.totals.tokens / elapsed
        return (
            f"epoch {self.progress.epoch + 1} step {self.progress.step} loss {loss:.3f} "
            f"perplexity {math.exp(min(loss, 50)):.2f} {rate:,.0f} tokens/s"
        )
