"""Released weights: their names, behind which prefix they are found, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modicum.errors import ModelError, UnsafeFileError
from modicum.fusion import CubeMLP, CubeMLPConfig
from modicum.fusion.released import load_released_state_dict, released_name

SIZES: Any = ((6, 3, 4), ((5, 3, 4), (2, 3, 3)))


def cube() -> CubeMLP:
    return CubeMLP(CubeMLPConfig(*SIZES))


def weights(prefix: str = "") -> dict[str, Tensor]:
    return {prefix + released_name(name): torch.randn_like(value) for name, value in cube().state_dict().items()}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("blocks.0.time.fc1.weight", "layers_stack.0.mlp_l.fc1.weight"),
        ("blocks.1.modality.fc2.bias", "layers_stack.1.mlp_k.fc2.bias"),
        ("blocks.0.channel.norm.bias", "layers_stack.0.ln_d.bias"),
        ("blocks.10.time.residual.weight", "layers_stack.10.res_projection_l.weight"),
    ],
)
def test_released_names(ours: str, theirs: str) -> None:
    assert released_name(ours) == theirs


@pytest.mark.parametrize("prefix", ["", "module.", "mlp_encoder.", "module.mlp_encoder."])
def test_weights_are_found_behind_a_prefix(prefix: str) -> None:
    given = weights(prefix)
    others = {"bertmodel.layer.weight": torch.zeros(1)} if prefix.endswith("mlp_encoder.") else {}
    loaded = cube()
    assert load_released_state_dict(loaded, {**given, **others}) is loaded
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, given[prefix + released_name(name)])


def test_a_model_around_a_cube_and_a_file_are_taken(tmp_path: Path) -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cube = cube()

    given = weights("mlp_encoder.")
    for number, content in enumerate((given, {"epoch": 3, "state_dict": given})):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        model = load_released_state_dict(Around(), path)
        loaded = model.cube.get_parameter("blocks.0.time.fc1.weight")
        assert torch.equal(loaded, given["mlp_encoder.layers_stack.0.mlp_l.fc1.weight"])


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    whole, name = weights(), "layers_stack.0.mlp_l.fc1.weight"
    cases: list[tuple[dict[str, Any], str]] = [
        ({key: it for key, it in whole.items() if key != name}, f"{name}: the state dictionary lacks it"),
        ({**whole, "layers_stack.2.ln_l.bias": torch.zeros(2)}, "layers_stack.2.ln_l.bias: the state dictionary has"),
        ({**whole, name: torch.zeros(5, 7)}, r"to have the size \(5, 6\), got \(5, 7\)"),
        ({**whole, name: "text"}, r"to have the size \(5, 6\), got str"),
        ({"encoder.weight": torch.zeros(1)}, "got none"),
        ({**whole, **weights("other.")}, r"got 'layers_stack.', 'other.layers_stack.'"),
    ]
    model = cube()
    before = {key: it.clone() for key, it in model.state_dict().items()}
    for given, message in cases:
        with pytest.raises(ModelError, match=message):
            load_released_state_dict(model, given)
    assert all(torch.equal(it, before[key]) for key, it in model.state_dict().items())


def test_models_without_a_released_counterpart_are_refused() -> None:
    with pytest.raises(ModelError, match="Linear is no CubeMLP"):
        load_released_state_dict(nn.Linear(2, 2), weights())
    prelu = CubeMLP(CubeMLPConfig(*SIZES, activation="prelu"))
    with pytest.raises(ModelError, match=r"no parameter blocks\.0\.time\.activation\.weight"):
        load_released_state_dict(prelu, weights())


def test_a_file_without_a_cube_or_with_code_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="holds no tensor named layers_stack"):
        load_released_state_dict(cube(), tmp_path / "other.pth")
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    with pytest.raises(UnsafeFileError, match="asks for"):
        load_released_state_dict(cube(), str(tmp_path / "module.pth"))
