"""Constants as C: lists of numbers that people can read, or strings that compilers read fast."""

from __future__ import annotations

import numpy as np

_WIDTH = 32  # numbers in a line

_OCTAL = np.array([f"\\{byte:03o}" for byte in range(256)], dtype="S4")


def table(name: str, numbers: np.ndarray, kind: str = "int32_t") -> str:
    """Write a constant array as a list."""
    texts = [str(it) for it in numbers.reshape(-1).tolist()]
    rows = ",\n".join(",".join(texts[at : at + _WIDTH]) for at in range(0, len(texts), _WIDTH))
    return f"static const {kind} {name}[{numbers.size}] = {{{rows}}};"


def string_table(name: str, numbers: np.ndarray) -> str:
    """Write a constant array of int8 as a string, which compilers read many times as fast as a list."""
    octal = _OCTAL[numbers.reshape(-1).view(np.uint8)].tobytes().decode("ascii")
    rows = "\n".join(f'"{octal[at : at + 4 * _WIDTH]}"' for at in range(0, len(octal), 4 * _WIDTH))
    return f"static const int8_t {name}[{numbers.size}] =\n{rows};"
