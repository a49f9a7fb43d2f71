"""Weights between the levels of a grid: a stand-in for a layer's weights that gradient descent can move."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor, nn

from modicum.errors import ConfigError, StateError
from modicum.quantize.codes import WeightCode
from modicum.quantize.configuration import Granularity
from modicum.quantize.functional import gate, gate_logit, power_of_two, soft_scale
from modicum.quantize.scales import search_scales

_OPEN = 0.9  # gate of a given code: decided, and yet steep enough to be moved
_LEAST, _MOST = -126, 127  # exponents that are normal float32 and fit int8


class SoftWeights:
    """The weights of one layer, w^ = s (clamp(floor(w / s) + h(alpha) + z, 0, L - 1) - z)."""

    # While exponents are soft, s = 2^(floor(log2 s0) + h(beta)) and z = z0 s0 / s is real. `harden_exponents` makes
    # both whole; from then on only alpha learns.
    #
    # Use `search` or `given` to make one.

    def __init__(self, weight: Tensor, bits: int, scale: Tensor, zero: Tensor) -> None:
        self.weight = weight.detach()
        self.bits = bits
        self._scale, self._zero = scale.detach(), zero.detach()
        exponent = torch.log2(self._scale)
        self._floor = torch.floor(exponent).clamp(_LEAST, _MOST - 1)
        self.beta: nn.Parameter | None = nn.Parameter(gate_logit((exponent - self._floor).clamp(0, 1)))
        self._base: Tensor | None = None  # the lower level, once it is fixed
        self.alpha = nn.Parameter(gate_logit(_fraction(self.weight / self._wide(self._scale))))

    @classmethod
    def search(cls, weight: Tensor, bits: int, granularity: Granularity = "channel") -> SoftWeights:
        """Start from the published search for real scales; exponents are soft."""
        # The range of a channel whose weights have one sign is made to begin at 0, since z must be a level. With 8 bits
        # the range is made symmetric.
        rows = weight.detach().reshape(1 if granularity == "tensor" else len(weight), -1)
        if bits == 8:
            scale, zero = search_scales(torch.cat([rows, -rows], dim=1), bits)
            return cls(weight, bits, scale, torch.full_like(zero, 128.0))
        scale, zero = search_scales(rows, bits)
        one_sign = (rows.amin(dim=1) > 0) | (rows.amax(dim=1) < 0)
        if one_sign.any():
            with_zero = torch.cat([rows, torch.zeros_like(rows[:, :1])], dim=1)
            scale[one_sign], zero[one_sign] = search_scales(with_zero[one_sign], bits)
        return cls(weight, bits, scale, zero)

    @classmethod
    def given(cls, weight: Tensor, code: WeightCode) -> SoftWeights:
        """Start from codes, for instance of the Hessian; exponents are hard."""
        # Each weight may stay at its level q or move by one level towards w, and where q is the lowest or the highest
        # one, inwards. Its gate is 0.9 or 0.1 open on the side of q: the hard decision is q, and the gradient of the
        # gate is still half of its largest.
        if weight.shape != code.codes.shape:
            raise ConfigError(
                f"Codes have shape {tuple(code.codes.shape)}, but the weight has {tuple(weight.shape)}.",
                hint="Give the codes of this layer.",
            )
        soft = cls(weight, code.bits, power_of_two(code.exponent, weight.dtype), code.zero.to(weight.dtype))
        soft.beta = None
        level = code.codes.to(weight.dtype)
        above = soft.weight / soft._wide(soft._scale) + soft._wide(soft._zero) < level
        above = (above | (level == 2**code.bits - 1)) & (level > 0)
        soft._base = level - above.to(level.dtype) - soft._wide(soft._zero)
        soft.alpha = nn.Parameter(gate_logit(torch.where(above, _OPEN, 1 - _OPEN).to(weight.dtype)))
        return soft

    @property
    def scale(self) -> Tensor:
        """s, shape (channels,) or (1,); a power of two once exponents are hard."""
        return self._scale if self.beta is None else soft_scale(self._floor, self.beta)

    def zero(self, scale: Tensor) -> Tensor:
        """Give z for a scale: real while exponents are soft, except with 8 bits."""
        return self._zero if self.beta is None or self.bits == 8 else self._zero * self._scale / scale

    def weights(self) -> Tensor:
        """Give w^, shape of the weight, with gradients for alpha and beta."""
        scale = self.scale
        wide, zero = self._wide(scale), self._wide(self.zero(scale))
        base = torch.floor(self.weight / wide).detach() if self._base is None else self._base
        level = (base + gate(self.alpha) + zero).clamp(0, 2**self.bits - 1)
        return (level - zero) * wide

    def harden_exponents(self) -> None:
        """Make exponents and zero points whole, and let alpha begin anew: h(alpha) = frac(w / s)."""
        # The exponent is the nearer of both, floor(log2 s0) + [h(beta) >= 0.5]; z = round(z0 s0 / s), cut to a level.
        # Nothing happens if they are hard already.
        if self.beta is None:
            return
        up = (gate(self.beta.detach()) >= 0.5).to(self._floor.dtype)
        scale = power_of_two(self._floor + up, self._scale.dtype)
        self._zero = torch.round(self.zero(scale)).detach().clamp(0, 2**self.bits - 1)
        self._scale, self.beta = scale, None
        real = self.weight / self._wide(scale)
        self._base = torch.floor(real)
        self.alpha = nn.Parameter(gate_logit(_fraction(real)))

    def code(self) -> WeightCode:
        """Decide every rounding: up where h(alpha) >= 0.5."""
        if self.beta is not None or self._base is None:
            raise StateError("Exponents are still soft.", hint="Call harden_exponents() first.")
        up = (self.alpha.detach() >= 0).to(self._base.dtype)
        level = (self._base + up + self._wide(self._zero)).clamp(0, 2**self.bits - 1)
        channels = len(self.weight)
        return WeightCode(
            codes=level.to(torch.uint8),
            zero=self._zero.expand(channels).to(torch.uint8).clone(),
            exponent=torch.log2(self._scale).round().expand(channels).to(torch.int8).clone(),
            bits=self.bits,
        )

    def decided(self) -> WeightCode:
        """Give the code that one would get by deciding all that is soft now; nothing changes here."""
        twin = copy(self)
        twin.harden_exponents()
        return twin.code()

    def _wide(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (self.weight.ndim - 1))


def _fraction(x: Tensor) -> Tensor:
    return x - torch.floor(x)
