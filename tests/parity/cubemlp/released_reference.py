"""The released encoder written plainly from section 2.2 of the specification: each axis is permuted to the end."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

LETTERS = "lkd"
TO_END = {"l": (0, 2, 3, 1), "k": (0, 1, 3, 2), "d": (0, 1, 2, 3)}
BACK = {"l": (0, 3, 1, 2), "k": (0, 1, 3, 2), "d": (0, 1, 2, 3)}


class Affines(nn.Module):
    def __init__(self, d_in: int, d_hidden: int, d_out: int, activation: nn.Module, *, bias: bool) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d_in, d_hidden, bias=bias)
        self.fc2 = nn.Linear(d_hidden, d_out, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class ReleasedBlock(nn.Module):
    def __init__(
        self,
        sizes: Sequence[tuple[int, int, int]],
        activation: nn.Module,
        *,
        bias: bool,
        ln_first: bool,
        res_project: bool,
    ) -> None:
        super().__init__()
        self.ln_first, self.res_project = ln_first, res_project
        for letter, (d_in, d_hidden, d_out) in zip(LETTERS, sizes, strict=True):
            self.add_module(f"mlp_{letter}", Affines(d_in, d_hidden, d_out, activation, bias=bias))
            self.add_module(f"ln_{letter}", nn.LayerNorm(d_in if ln_first else d_out, eps=1e-6))
            if res_project:
                self.add_module(f"res_projection_{letter}", nn.Linear(d_in, d_out, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        for letter in LETTERS:
            x = self.mixed(letter, x.permute(TO_END[letter]).contiguous()).permute(BACK[letter]).contiguous()
        return x

    def mixed(self, letter: str, x: Tensor) -> Tensor:
        norm, mlp = self.get_submodule(f"ln_{letter}"), self.get_submodule(f"mlp_{letter}")
        residual = self.get_submodule(f"res_projection_{letter}")(x) if self.res_project else x
        return mlp(norm(x)) + residual if self.ln_first else norm(mlp(x) + residual)


class ReleasedEncoder(nn.Module):
    def __init__(
        self,
        shapes: Sequence[Sequence[Sequence[int]]],
        activation: nn.Module,
        *,
        bias: bool,
        ln_first: bool,
        res_project: bool,
    ) -> None:
        super().__init__()
        self.layers_stack = nn.ModuleList(
            ReleasedBlock(
                [(sizes[0], sizes[1], sizes[2]) for sizes in zip(*triples, strict=True)],
                activation,
                bias=bias,
                ln_first=ln_first,
                res_project=res_project,
            )
            for triples in shapes
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.Sequential(*self.layers_stack)(x)
