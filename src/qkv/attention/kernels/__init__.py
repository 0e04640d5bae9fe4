"""The fast ways to compute the same thing. `KERNELS` is the one table of what each covers.

"auto" takes the first row that can do the work: rows are in order of preference, and the last
one, the reference, can do everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.attention.kernels.kernel import Kernel, Plan

if TYPE_CHECKING:
    from qkv.attention.result import Attended
    from qkv.attention.work import Work

KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel(
            "sdpa",
            "qkv.attention.kernels.sdpa:run",
            "torch's fused dot-product attention; no energy is kept",
            families=("dot",),
            normalizers=("softmax",),
            transforms=False,
            chooses=True,
            reweights=False,
            drops_out=False,
            learns_bias=False,
            holds_pairs=False,
            pads_from=2**17,  # measured: even at 256 x 256, twice as fast at 1024 x 1024
        ),
        Kernel(
            "sparse",
            "qkv.attention.kernels.sparse:run",
            "blocks of queries, each against the keys that it may meet; no mask is drawn",
            tiles=True,
            chooses=True,
        ),
        Kernel(
            "narrow",
            "qkv.attention.kernels.narrow.operator:run",
            "compiled loops over each query's own run of keys, its Gaussian with them",
            families=("dot", "additive"),
            normalizers=("softmax",),
            reweights=False,
            gaussian=True,
            drops_out=False,
            learns_bias=False,
            biases=False,
            holds_pairs=False,
            devices=("cpu",),
            transforms=False,
            compiles=False,
            holds_hidden=False,
            runs=True,
            requires="qkv.attention.kernels.narrow.compiled:absent",
        ),
        Kernel(
            "additive_triton",
            "qkv.attention.kernels.additive.fused:run",
            "energies, softmax and context in one Triton kernel; no energy is kept",
            families=("additive",),
            normalizers=("softmax",),
            reweights=False,
            drops_out=False,
            learns_bias=False,
            holds_pairs=False,
            devices=("cuda",),
            transforms=False,
            compiles=False,
            holds_hidden=False,
            requires="qkv.attention.kernels.additive.triton_ways:absent",
            remarks="qkv.attention.kernels.additive.operator:remark",
        ),
        Kernel(
            "additive_triton_energies",
            "qkv.attention.kernels.additive.operator:run_triton",
            "Triton kernels for the energies; the other stages in plain torch",
            families=("additive",),
            devices=("cuda",),
            transforms=False,
            compiles=False,
            holds_hidden=False,
            requires="qkv.attention.kernels.additive.triton_ways:absent",
            remarks="qkv.attention.kernels.additive.operator:remark",
        ),
        Kernel(
            "additive_numba",
            "qkv.attention.kernels.additive.fused:run_compiled",
            "compiled loops from scores to context; four tanh are multiply-adds and a reciprocal",
            families=("additive",),
            normalizers=("softmax",),
            reweights=False,
            drops_out=False,
            learns_bias=False,
            biases=False,
            holds_pairs=False,
            devices=("cpu",),
            transforms=False,
            compiles=False,
            holds_hidden=False,
            gains_from=2**17,
            queries_from=4,  # measured: a training that asks one query a step loses 5 to 12 %
            requires="qkv.attention.kernels.additive.compiled:absent",
            remarks="qkv.attention.kernels.additive.operator:remark",
        ),
        Kernel(
            "additive_numba_energies",
            "qkv.attention.kernels.additive.operator:run_compiled",
            "compiled loops for the energies; the other stages in plain torch",
            families=("additive",),
            devices=("cpu",),
            transforms=False,
            compiles=False,
            holds_hidden=False,
            gains_from=2**17,
            queries_from=4,
            requires="qkv.attention.kernels.additive.compiled:absent",
            remarks="qkv.attention.kernels.additive.operator:remark",
        ),
        Kernel(
            "additive",
            "qkv.attention.kernels.additive.operator:run",
            "tiles that stay in the cache; each tanh is a multiply-add and a division",
            families=("additive",),
            transforms=False,
            compiles=False,
            holds_hidden=False,
            gains_from=2**20,
            queries_from=4,
            remarks="qkv.attention.kernels.additive.operator:remark",
        ),
        Kernel(
            "reference",
            "qkv.attention.kernels.reference:run",
            "the five stages one after another; does everything",
        ),
    )
}

__all__ = ["KERNELS", "choose", "explain", "run"]


def run(name: str, work: Work) -> Attended:
    """Do the work by the kernel of this name, or by the one that "auto" finds."""
    kernel = choose(name, work)
    attended = kernel.run(work)
    if work.only is None or kernel.chooses or attended.weights is None:
        return attended
    return attended._replace(weights=work.only.of(attended.weights))


def choose(name: str, work: Work) -> Kernel:
    """Return the kernel for this work: the first that can do it, or the one that is named.

    Raises:
        ValueError: an unknown kernel, or one that cannot do this work; the part is named.
    """
    if name == "auto":
        return next(
            kernel
            for kernel in KERNELS.values()
            if kernel.gap(work) is None and kernel.loss(work) is None
        )
    if name not in KERNELS:
        raise ValueError(f"unknown kernel {name!r}; known: auto, {', '.join(KERNELS)}")
    gap = KERNELS[name].gap(work)
    if gap is not None:
        gap = (KERNELS[name].absent if KERNELS[name].runs else None) or gap
        raise ValueError(
            f"kernel {name!r} cannot do {gap}; kernel='auto' runs "
            f"{choose('auto', work).name!r} here, which can"
        )
    return KERNELS[name]


def explain(name: str, work: Work) -> Plan:
    """Say what `choose` chooses, why, and what it costs."""
    kernel = choose(name, work)
    operations, held = kernel.cost(work)
    return Plan(kernel.name, _reason(name, kernel, work), operations, held)


def _reason(name: str, chosen: Kernel, work: Work) -> str:
    remark = chosen.remark(work)
    if remark is not None:
        remark = f"{chosen.purpose}; but {remark}"
    if name != "auto":
        return f"it was asked for ({remark or chosen.purpose})"
    passed = []
    for kernel in KERNELS.values():
        if kernel is chosen:
            break
        gap = kernel.gap(work)
        passed.append(
            f"{kernel.name} does not gain on {kernel.loss(work)}"
            if gap is None
            else f"{kernel.name} cannot do {gap}"
        )
    return "; ".join([*passed, remark or chosen.purpose])
