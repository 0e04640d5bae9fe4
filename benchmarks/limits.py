"""What this machine can do, measured in the run that is compared with it.

    python benchmarks/limits.py [--threads 2]

Multiply-adds and divisions of float32 from registers, in loops of numba; products of matrices
in float32, bfloat16 and int8, of the sizes that a small model has; bytes read, of 32 MiB again and
again (a model's weights). In units a second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

LANES, TIMES = 256, 200_000  # 16 vectors of AVX-512: enough to hide the latency of each


def loops():
    """Return the two loops, compiled."""
    from numba import njit

    @njit(nogil=True, fastmath=True, error_model="numpy")
    def multiply_add(x, times):
        for _ in range(times):
            for i in range(x.size):
                x[i] = x[i] * np.float32(0.999) + np.float32(0.001)
        return x[0]

    # A division that may raise is not vectorised; without "arcp" it stays a division.
    @njit(nogil=True, fastmath={"nnan", "ninf", "nsz"}, error_model="numpy")
    def divide(x, times):
        for _ in range(times):
            for i in range(x.size):
                x[i] = np.float32(1.5) / (x[i] + np.float32(0.5))
        return x[0]

    return {"multiply-adds": multiply_add, "divisions": divide}


def loop_rates(threads: int) -> dict[str, float]:
    """Return operations a second of each loop, all threads together."""
    rates = {}
    with ThreadPoolExecutor(threads) as pool:
        for name, loop in loops().items():
            arrays = [np.full(LANES, 0.9, np.float32) for _ in range(threads)]
            loop(arrays[0], 1)
            best = 0.0
            for _ in range(3):
                begin = time.perf_counter()
                list(pool.map(loop, arrays, [TIMES] * threads))
                best = max(best, threads * LANES * TIMES / (time.perf_counter() - begin))
            rates[name] = best
    return rates


def product_rate(dtype: torch.dtype) -> float:
    """Return floating-point operations a second of matrix products, at the better of two sizes."""
    return max(fastest(product(dtype, k)) * 2 * 2048 * k * 1024 for k in (256, 1024))


def product(dtype: torch.dtype, k: int) -> Callable[[], object]:
    """Return [2048, k] x [k, 1024]."""
    left, right = torch.randn(2048, k).mul(9).to(dtype), torch.randn(k, 1024).mul(9).to(dtype)
    if dtype == torch.int8:
        return lambda: torch._int_mm(left, right)
    out = torch.empty(2048, 1024, dtype=dtype)
    return lambda: torch.mm(left, right, out=out)


def fastest(call: Callable[[], object]) -> float:
    """Return calls a second, at best."""
    best = 0.0
    for _ in range(12):
        begin = time.perf_counter()
        for _ in range(4):
            call()
        best = max(best, 4 / (time.perf_counter() - begin))
    return best


def limits() -> dict[str, float]:
    """Return the rates of products and of reading; torch has been told its threads."""
    return {
        "products float32": product_rate(torch.float32),
        "products bfloat16": product_rate(torch.bfloat16),
        "products int8": product_rate(torch.int8),
        "bytes read": 2**25 * fastest(torch.randn(2**23).sum),
    }


def every_limit(threads: int) -> dict[str, float]:
    """Return these and the loops'; the loops need numba, an extra."""
    try:
        return limits() | loop_rates(threads)
    except ImportError:
        return limits()


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    for name, value in every_limit(said.threads).items():
        print(f"{name:20}{value / 1e9:10.1f} G/s")


if __name__ == "__main__":
    main()
