"""Rows of unequal length as one batch, padded on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["pad_right"]


def pad_right(columns: Mapping[str, Sequence[Any]], fill: Mapping[str, Any], *, width: int) -> dict[str, Tensor]:
    """Make tensors of columns.

    Args:
        columns: of lists with one entry a token where ``fill`` has their name, else of numbers.
        fill: the entry of a slot without a token, by column.
        width: slots of a row, at least those of the longest.

    Returns:
        Tensors of shape (rows, width, ...), or (rows, ...) for numbers.
    """
    return {
        name: torch.tensor([[*row, *[fill[name]] * (width - len(row))] for row in rows] if name in fill else list(rows))
        for name, rows in columns.items()
    }
