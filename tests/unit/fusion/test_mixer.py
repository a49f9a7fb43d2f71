"""The cube against constants of the released code, and its counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modicum.errors import ConfigError, ModelError
from modicum.fusion import CubeMLP, CubeMLPConfig

MOSEI = [[50, 3, 128], [10, 3, 64], [10, 3, 32], [10, 3, 3]]
RELEASED = {"time": "l", "modality": "k", "channel": "d"}


def released_name(name: str) -> str:
    _, block, axis, part, *rest = name.split(".")
    letter = RELEASED[axis]
    part = {"norm": f"ln_{letter}", "residual": f"res_projection_{letter}"}.get(part, f"mlp_{letter}.{part}")
    return ".".join(["layers_stack", block, part, *rest])


def filled(norm: str) -> CubeMLP:
    cube = CubeMLP(
        CubeMLPConfig(
            [6, 3, 4],
            [[5, 3, 4], [2, 2, 3]],
            [[4, 3, 4], [2, 1, 2]],
            norm=norm,  # type: ignore[arg-type]
            allow_degenerate=True,
        )
    ).double()
    parameters = sorted((released_name(name), name, value) for name, value in cube.named_parameters())
    with torch.no_grad():
        for i, (_, name, value) in enumerate(parameters):
            wave = 0.3 * torch.sin(0.37 * torch.arange(value.numel(), dtype=torch.float64) + i)
            value.copy_(wave.reshape(value.shape) + (1.0 if name.endswith("norm.weight") else 0.0))
    return cube.eval()


@pytest.mark.parametrize(
    ("norm", "total", "entries", "count"),
    [
        ("pre", -1.654653652669, (-0.111653647159, -0.315629503312), 289),
        ("post", 1.269152377844, (-0.746336754403, 1.063624848864), 273),
    ],
)
def test_the_constants_of_the_released_encoder(norm: str, total: float, entries: Any, count: int) -> None:  # CUBEMLP-C2
    cube = filled(norm)
    y = cube(torch.cos(0.11 * torch.arange(144, dtype=torch.float64)).reshape(2, 6, 3, 4))
    assert y.shape == (2, 2, 1, 2)
    assert y.sum().item() == pytest.approx(total, abs=1e-10)
    assert (y[0, 0, 0, 0].item(), y[1, 1, 0, 1].item()) == pytest.approx(entries, abs=1e-10)
    assert sum(value.numel() for value in cube.parameters()) == count


def test_parameter_counts_of_the_published_recipes() -> None:  # CUBEMLP-C3
    count = lambda model: sum(value.numel() for value in model.parameters())
    assert count(CubeMLP(CubeMLPConfig())) == 73_298
    assert count(CubeMLP(CubeMLPConfig(d_hiddens=MOSEI))) == 90_967
    assert [count(block) for block in CubeMLP(CubeMLPConfig()).blocks] == [62_503, 10_795]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_hiddens": [[5, 3]]}, "three sizes"),
        ({"d_outs": [[5, 3, 4]]}, "There are 2 blocks in d_hiddens, 1 in d_outs"),
        ({"res_project": False}, "Block 0 takes time from 100 to 50, but its residual is not projected"),
        ({"d_ins": (100, 1, 128)}, "Block 0 has a layer norm over 1 modality"),
        ({"norm": "post", "d_hiddens": [[50, 1, 4]]}, "Block 0 has a layer norm over 1 modality"),
        ({"norm": "middle"}, "norm is 'middle'"),
        ({"activation": "swish"}, "activation is 'swish'"),
        ({"dropouts": (0.1, 1.0, 0.1)}, "of modality is 1.0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CubeMLPConfig(**settings)


def test_a_cube_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \(batch, up to 100, 3, 128\) was expected, got \(2, 3, 100, 128\)"):
        CubeMLP(CubeMLPConfig())(torch.zeros(2, 3, 100, 128))
