"""Train under torchrun with a dev set whose measuring takes longer than the processes wait.

torchrun ... slow_leader.py CONFIG RUN PATIENCE SECONDS: operations that processes do together
give up after PATIENCE seconds (of NCCL ten minutes, of gloo thirty), and the leader measures for
SECONDS.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from qkv.configfile import load_config
from qkv.training import validate
from qkv.training.loop import train

measure, join = validate.measure, dist.init_process_group


def main(config: str, run: str, patience: str, seconds: str) -> None:
    def slowly(*arguments: Any) -> dict[str, float]:
        time.sleep(float(seconds))
        return measure(*arguments)

    def hastily(backend: str) -> None:
        join(backend, timeout=timedelta(seconds=float(patience)))

    validate.measure, dist.init_process_group = slowly, hastily
    train(load_config(Path(config)), Path(run))


if __name__ == "__main__":
    main(*sys.argv[1:])
