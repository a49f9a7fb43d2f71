"""Rows of unequal length as one batch, padded on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def pad_right(columns: Mapping[str, Sequence[Any]], fill: Mapping[str, Any], *, width: int) -> dict[str, Tensor]:
    """Make tensors of columns."""
    return {
        name: torch.tensor([[*row, *[fill[name]] * (width - len(row))] for row in rows] if name in fill else list(rows))
        for name, rows in columns.items()
    }
