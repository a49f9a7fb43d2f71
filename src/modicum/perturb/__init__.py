"""HyPe: random noise on the hidden states that enter each Transformer layer, while a pre-trained model is fine-tuned.

Yuan, Yuan, Tan, Huang and Huang, "HyPe: Better Pre-trained Language Model Fine-tuning with Hidden Representation
Perturbation" (ACL 2023, arXiv:2212.08853). The noise needs no second forward pass and no extra loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modicum.perturb.configuration import HyPeConfig
from modicum.perturb.diagnostic import GradientChange, gradient_change
from modicum.perturb.hook import HyPe

if TYPE_CHECKING:
    from modicum.perturb.callback import HyPeCallback

__all__ = ["GradientChange", "HyPe", "HyPeCallback", "HyPeConfig", "gradient_change"]


def __getattr__(name: str) -> object:
    # The class of a callback has a base in transformers, which takes seconds to import.
    if name == "HyPeCallback":
        from modicum.perturb.callback import HyPeCallback

        return HyPeCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
