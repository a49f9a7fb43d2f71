"""What torch.compile has to be told when the hooks of a model change."""

from __future__ import annotations

import sys

import torch


def drop_compiled_code() -> None:
    """Make torch compile anew, since compiled code looks neither for hooks that came nor for those that went."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
