"""The activations between the two affine maps of a mixer, by the names of the released code."""

from __future__ import annotations

from torch import nn

from modicum.errors import ConfigError

__all__ = ["ACTIVATIONS", "make_activation"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,  # exact, by the error function
    "hardshrink": nn.Hardshrink,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "leakyrelu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "rrelu": nn.RReLU,
    "tanh": nn.Tanh,
}


def make_activation(name: str) -> nn.Module:
    """Make an activation.

    Args:
        name: as in `ACTIVATIONS`.

    Returns:
        A module that works elementwise.

    Raises:
        ConfigError: if there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"There is no activation {name!r}.", hint=f"Use one of: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]()
