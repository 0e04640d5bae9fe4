"""The additive energies, forward and backward, without anything of size queries x keys x hidden.

operator: differentiable as often as one likes; tiled: in plain torch, on any device; compiled: as
loops (numba), on a CPU; triton_ways: on a GPU (triton_kernels), where fused, with a softmax, keeps
no energy at all. A kernel for another device is one more pair of functions like these.
"""
