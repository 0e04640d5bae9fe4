"""Additive attention, forward and backward, without anything of size queries x keys x hidden.

operator: energies, differentiable as often as one likes, then the stages in plain torch; fused:
with a softmax, all in one go. tiled: in plain torch, on any device; compiled: as loops (numba), on
a CPU; triton_ways: on a GPU. table: keys that a decoder asks step by step. A kernel for another
device is one more pair of functions like these.
"""
