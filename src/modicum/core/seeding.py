"""One seed gives named, independent streams, so that the arms of a pair share what they should share."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, stream: str) -> int:
    """Derive the seed of a named stream."""
    # Arms that use the same names ("split", "initialisation", "order") draw the same numbers there, whatever they draw
    # elsewhere ("noise").
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def torch_generator(seed: int, stream: str, device: str = "cpu") -> torch.Generator:
    """Make the torch generator of a named stream."""
    return torch.Generator(device).manual_seed(derive(seed, stream))


def numpy_generator(seed: int, stream: str) -> np.random.Generator:
    """Make the NumPy generator of a named stream."""
    return np.random.default_rng(derive(seed, stream))


def legacy_seed(seed: int, stream: str) -> int:
    """Derive a seed in [0, 2**32), for what takes no larger one: NumPy's old generator, and so transformers."""
    return derive(seed, stream) % 2**32


@contextmanager
def seeded_globally(seed: int, stream: str) -> Generator[None]:
    """Seed the global generators of Python, NumPy and torch in a ``with`` block, and put them back after it."""
    # transformers and Stable-Baselines3 draw from them, and have no other way.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the legacy state is what leaks
    with torch.random.fork_rng():  # pyright: ignore[reportUnknownMemberType] - torch leaves its devices untyped
        try:
            number = legacy_seed(seed, stream)
            random.seed(number)
            np.random.seed(number)  # noqa: NPY002 - the legacy generator is what they use
            torch.manual_seed(number)  # noqa: TID251 # pyright: ignore[reportUnknownMemberType]
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
