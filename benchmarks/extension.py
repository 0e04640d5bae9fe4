"""The loop that the additive forward pass spends its time in: numba's, against a C++ compiler's.

    python benchmarks/extension.py [--rounds 40]

sum_d 1 / (u_d + q_id k_jd) for 512 queries, 512 keys, 256 dimensions, float32, one thread: as the
package has it; the same in C++, whose vectors the compiler makes; and the same in AVX-512
intrinsics, written for this kind of processor alone. Both by g++ -O3 -march=native. Without a C++
compiler, or without AVX-512, there is nothing to compare with, and this says so. This is what an
extension in C++ would gain; the rest of the forward pass is the same for all.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from numba import njit
from rounds import agree, alternate, summary

from qkv.attention.kernels.additive.forward import _meet_quads
from qkv.attention.kernels.additive.task import LANES, TOGETHER

QUERIES, KEYS, WIDTH = 512, 512, 256
HEAD = f"""
constexpr int L = {LANES};
extern "C" void sums(
    const float *__restrict q, const float *__restrict k, const float *__restrict u,
    float *__restrict out, long queries, long blocks, long width) {{
  for (long i = 0; i < queries; i += 4) for (long b = 0; b < blocks; b++) {{
    const float *block = k + b * width * L;
"""
PLAIN = """
static inline float four(float a, float b, float c, float d) {
  float one = a * b, two = c * d;
  return ((a + b) * two + (c + d) * one) / (one * two);
}
""" + HEAD + """
    float s[4][L] = {};
    for (long d = 0; d < width; d += 4) for (int r = 0; r < 4; r++) {
      const float *a = q + (i + r) * width + d, *x = block + d * L;
      for (int j = 0; j < L; j++)
        s[r][j] += four(u[d] + a[0] * x[j], u[d + 1] + a[1] * x[L + j],
                        u[d + 2] + a[2] * x[2 * L + j], u[d + 3] + a[3] * x[3 * L + j]);
    }
    for (int r = 0; r < 4; r++) for (int j = 0; j < L; j++)
      out[((i + r) * blocks + b) * L + j] = s[r][j];
  }
}
"""  # fmt: skip
BY_HAND = """
#include <immintrin.h>
typedef __m512 V;
static inline V inverse(V x) {
  V r = _mm512_rcp14_ps(x);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, _mm512_set1_ps(2.f)));
}
static inline V four(V a, V b, V c, V d) {
  V one = _mm512_mul_ps(a, b), two = _mm512_mul_ps(c, d);
  V sum = _mm512_mul_ps(_mm512_add_ps(a, b), two);
  return _mm512_mul_ps(_mm512_fmadd_ps(_mm512_add_ps(c, d), one, sum),
                       inverse(_mm512_mul_ps(one, two)));
}
static inline V at(float q, const float *k, float u) {
  return _mm512_fmadd_ps(_mm512_set1_ps(q), _mm512_loadu_ps(k), _mm512_set1_ps(u));
}
""" + HEAD + """
    V s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (long d = 0; d < width; d += 4) {
      const float *x = block + d * L;
      #pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        const float *a = q + (i + r) * width + d;
        V w = at(a[0], x, u[d]), y = at(a[2], x + 2 * L, u[d + 2]);
        V v = at(a[1], x + L, u[d + 1]), z = at(a[3], x + 3 * L, u[d + 3]);
        s[r] = _mm512_add_ps(s[r], four(w, v, y, z));
      }
    }
    for (int r = 0; r < 4; r++) _mm512_storeu_ps(out + ((i + r) * blocks + b) * L, s[r]);
  }
}
"""  # fmt: skip


@njit(nogil=True)
def loops(rows, keys, upside, out, sums):
    """What the forward pass does for all queries and blocks of keys, where nothing is masked."""
    for i in range(0, rows.shape[0], TOGETHER):
        for block in range(keys.shape[0]):
            _meet_quads(rows[i : i + TOGETHER], keys[block], upside, sums)
            for row in range(TOGETHER):
                for lane in range(LANES):
                    out[i + row, block, lane] = sums[row * LANES + lane]


def built(source: str, flags: list[str], folder: Path, name: str):
    """Compile a text, and return its function."""
    text, library = folder / f"{name}.cpp", folder / f"{name}.so"
    text.write_text(source)
    command = ["g++", "-O3", "-march=native", "-mprefer-vector-width=512", *flags]
    subprocess.run([*command, "-shared", "-fPIC", text, "-o", library], check=True)
    return ctypes.CDLL(str(library)).sums


def main() -> None:
    """Compare the sums, then measure in turn."""
    parser = argparse.ArgumentParser(description="numba against C++")
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    if shutil.which("g++") is None or "avx512f" not in Path("/proc/cpuinfo").read_text():
        raise SystemExit("needs g++ and a processor with AVX-512: nothing to compare with here")
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    rows = np.exp(draw.standard_normal((QUERIES, WIDTH))).astype("f")
    keys = np.exp(draw.standard_normal((KEYS // LANES, WIDTH * LANES))).astype("f")
    upside = (1 + draw.random(WIDTH)).astype("f")
    flat = np.zeros(TOGETHER * LANES, "f")
    names = "numba, the package's", "C++, the compiler's vectors", "C++, AVX-512 intrinsics"
    outs = {name: np.zeros((QUERIES, KEYS // LANES, LANES), "f") for name in names}

    def extension(function, out):
        places = [ctypes.c_void_p(a.ctypes.data) for a in (rows, keys, upside, out)]
        sizes = [ctypes.c_long(n) for n in (QUERIES, KEYS // LANES, WIDTH)]
        return lambda: (function(*places, *sizes), [torch.from_numpy(out)])[1]

    with tempfile.TemporaryDirectory() as folder:
        plain = built(PLAIN, ["-ffast-math"], Path(folder), "plain")
        by_hand = built(BY_HAND, [], Path(folder), "by_hand")
    own = outs[names[0]]
    ways = {
        names[0]: lambda: (loops(rows, keys, upside, own, flat), [torch.from_numpy(own)])[1],
        names[1]: extension(plain, outs[names[1]]),
        names[2]: extension(by_hand, outs[names[2]]),
    }
    agree(ways, 1e-5)
    print("| way | median, ms | least | G pairs times width a second |\n| --- | --- | --- | --- |")
    for name, seconds in alternate(ways, given.rounds, least=0.0).items():
        told = summary(seconds)
        rate = QUERIES * KEYS * WIDTH / told["median"] / 1e9
        print(f"| {name} | {1e3 * told['median']:.2f} | {1e3 * told['least']:.2f} | {rate:.1f} |")


if __name__ == "__main__":
    main()
