"""One seed gives named, independent streams, so that the arms of a pair share what they should share."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

__all__ = ["derive", "numpy_generator", "torch_generator"]


def derive(seed: int, stream: str) -> int:
    """Derive the seed of a named stream.

    Arms that use the same names ("split", "initialisation", "order") draw the same numbers there, whatever
    they draw elsewhere ("noise").

    Args:
        seed: the seed of the job.
        stream: a name for what is drawn.

    Returns:
        An integer in [0, 2**63), the same on every machine.
    """
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def torch_generator(seed: int, stream: str, device: str = "cpu") -> torch.Generator:
    """Make the torch generator of a named stream."""
    return torch.Generator(device).manual_seed(derive(seed, stream))


def numpy_generator(seed: int, stream: str) -> np.random.Generator:
    """Make the NumPy generator of a named stream."""
    return np.random.default_rng(derive(seed, stream))
