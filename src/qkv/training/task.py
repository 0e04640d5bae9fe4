"""What there is to learn: the pairs, as text and as ids, and the two sides."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from qkv.config import Config
from qkv.data import Examples, encode_pairs, load_pairs
from qkv.data.pairs import Pair
from qkv.folder import RunFolder
from qkv.models.build import predicts, spelled
from qkv.text import Side
from qkv.training.distributed import Processes
from qkv.training.guided import linked_pairs
from qkv.training.labels import check_config, check_labels, describe_labels
from qkv.training.log import Reporter


@dataclass(frozen=True)
class Task:
    """The training examples, the development examples and pairs, and what encodes them."""

    source: Side
    target: Side
    train: Examples
    dev: Examples
    dev_pairs: tuple[Pair, ...]

    @property
    def digest(self) -> str:
        """A short hash of the training examples and of what their ids mean."""
        hashed = hashlib.sha256(f"{self.source.digest} {self.target.digest}".encode())
        parts = [self.train.source, self.train.target]
        if self.train.linked is not None:
            parts.append(self.train.linked.links)
        if self.train.spelled is not None:
            parts.append(self.train.spelled)
        for part in parts:
            hashed.update(part.flat.tobytes())
            hashed.update(part.offsets.tobytes())
        return hashed.hexdigest()[:16]


def load_task(config: Config, folder: RunFolder, group: Processes, reporter: Reporter) -> Task:
    """Read the pairs, learn the tokenisers (once a run: they are kept in its folder), encode.

    Raises:
        ValueError: the data is missing, malformed, or too small.
    """
    labels = predicts(config.model)
    if labels != "sequence":
        check_config(config, labels)
    train, dev = load_pairs(config.data, "train"), load_pairs(config.data, "dev")
    reporter.say(f"train: {train.report}")
    reporter.say(f"dev: {dev.report}")
    if group.leads and not (folder.source.exists() and folder.target.exists()):
        sources, targets = train.sources, train.targets
        if config.text.shared:
            source = target = Side.train(config.text.source, sources + targets)
        else:
            source = Side.train(config.text.source, sources)
            target = Side.train(config.text.target, targets)
        source.save(folder.source)
        target.save(folder.target)
    group.wait()
    source, target = Side.load(folder.source), Side.load(folder.target)
    guided = config.training.guided
    pairs = linked_pairs(train.pairs, guided.links) if guided.weight else train.pairs
    letters = spelled(config.model)
    examples = encode_pairs(
        pairs,
        source,
        target,
        max_length=config.data.max_length,
        linked=guided.weight > 0,
        spelled=letters,
    )
    reporter.say(
        f"training on {examples}; vocabularies: {len(source.vocabulary):,} and "
        f"{len(target.vocabulary):,} symbols"
    )
    own = encode_pairs(dev.pairs, source, target, spelled=letters)
    task = Task(source, target, examples, own, dev.pairs)
    if labels != "sequence":
        check_labels(task, labels)
        reporter.say(describe_labels(task))
    return task
