"""How much each output of a model hangs on each input token: one method, one file.

Each asks a `Question`, which is any function from embeddings to features and from features to
scores; what the model is, or which attention it has, none of them knows.
"""

from __future__ import annotations

from qkv.explain.attribution.question import Attribution, Method, Question

METHODS: dict[str, str] = {
    "gradient": "qkv.explain.attribution.gradient:gradient",
    "gradient-input": "qkv.explain.attribution.gradient_input:gradient_input",
    "integrated-gradients": "qkv.explain.attribution.integrated_gradients:integrated_gradients",
    "jacobian": "qkv.explain.attribution.jacobian:jacobian",
    "leave-one-out": "qkv.explain.attribution.leave_one_out:leave_one_out",
    "rollout": "qkv.explain.attribution.rollout:attention_rollout",
    "flow": "qkv.explain.attribution.flow:attention_flow",
}

__all__ = ["METHODS", "Attribution", "Method", "Question"]
