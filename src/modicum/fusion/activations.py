"""The activations between the two affine maps of a mixer, by the names of the released code."""

from __future__ import annotations

from torch import nn

from modicum.errors import ConfigError

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
    """Make an activation."""
    if name not in ACTIVATIONS:
        raise ConfigError(f"There is no activation {name!r}.", hint=f"Use one of: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]()
