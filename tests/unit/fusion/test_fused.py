"""The fast path: its statistics, its counts, its dropout, and what becomes of it when it is compiled or exported."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.fusion.equations import by_equations
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.flop_counter import FlopCounterMode

from modicum.core.seeding import seeded_globally, torch_generator
from modicum.fusion import CubeMLP, CubeMLPConfig
from modicum.fusion.functional import Manner, MixerWeights, mix, standardise

SMALL: dict[str, Any] = {"d_ins": (9, 3, 6), "d_hiddens": ((7, 3, 5), (4, 3, 4))}


def made(**settings: Any) -> CubeMLP:
    with seeded_globally(0, "cube"):
        return CubeMLP(CubeMLPConfig(**{**SMALL, **settings})).double()


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch_generator(0, "x"), dtype=torch.float64)


def test_statistics_keep_the_digits_that_a_single_pass_loses() -> None:
    x = (drawn(2, 60, 5) + 300).float()
    exact = x.double() - x.double().mean(1, keepdim=True)
    exact = exact / exact.square().mean(1, keepdim=True).sqrt()
    values, zero = standardise(x, 60, 0.0)
    assert (values - exact).abs().max() < 1e-4
    assert torch.allclose(zero, -x.mean(1, keepdim=True) / x.std(1, correction=0, keepdim=True), rtol=1e-4)
    single = x.square().mean(1, keepdim=True) - x.mean(1, keepdim=True).square()
    assert ((x - x.mean(1, keepdim=True)) / single.sqrt() - exact).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("hiddens", "plain", "short"),
    [
        (((50, 3, 128), (10, 3, 32)), 26_158_080, 20_436_480),
        (((50, 3, 128), (10, 3, 64), (10, 3, 32), (10, 3, 3)), 27_377_820, 21_656_220),
    ],
)
def test_operations_of_a_sample(hiddens: Any, plain: int, short: int) -> None:  # CUBEMLP-C3
    cube = CubeMLP(CubeMLPConfig(d_hiddens=hiddens)).eval()
    counts: list[int] = []
    for run, frames in ((lambda x: by_equations(cube, x), 100), (cube, 100), (cube, 25)):
        with FlopCounterMode(display=False) as counter:
            run(torch.zeros(1, frames, 3, 128))
        counts.append(counter.get_total_flops())
    assert counts == [plain, plain, short]


@pytest.mark.parametrize("norm", ["pre", "branch"])
def test_dropout_keeps_a_value_of_the_branch_in_full_or_not_at_all(norm: Any) -> None:
    generator = torch_generator(0, norm)
    eye = torch.eye(40, dtype=torch.float64)
    ones, zeros = eye.new_ones(40), eye.new_zeros(40)
    weights = MixerWeights((eye, None), (eye, zeros), (ones, zeros), eye)
    x = torch.randn(20, 40, 50, generator=generator, dtype=torch.float64)
    manner = Manner(norm, nn.Identity(), 0.3, 1e-6, training=False)
    with seeded_globally(0, "dropout"):
        dropped = mix(x, weights, manner._replace(training=True)) - x
    full = (mix(x, weights, manner) - x) / 0.7
    kept = dropped != 0
    torch.testing.assert_close(dropped, torch.where(kept, full, 0.0), rtol=1e-9, atol=1e-12)
    deviation = (0.3 * 0.7 / kept.numel()) ** 0.5
    assert abs(kept.double().mean() - 0.7) < 5 * deviation
    for axis in (0, 1, 2):  # each value on its own: no place is kept more often than another
        share = kept.double().transpose(0, axis).flatten(1).mean(1)
        assert (share - 0.7).abs().max() < 5 * (0.3 * 0.7 * len(share) / kept.numel()) ** 0.5


def test_a_compiled_gradient_has_the_values_that_were_kept() -> None:
    eye = torch.eye(8, dtype=torch.float64)
    ones, zeros = eye.new_ones(8), eye.new_zeros(8)
    weights = MixerWeights((eye, None), (eye, None), (ones, zeros), eye)
    manner = Manner("pre", nn.Identity(), 0.3, 1e-6, training=True)
    compiled = torch.compile(lambda x: mix(x, weights, manner), backend="aot_eager", fullgraph=True)
    x = drawn(4, 8, 5).requires_grad_()
    y = compiled(x)
    kept = (y - x).detach().abs() > 1e-12
    expected = x + torch.where(kept, standardise(x, 8, 1e-6)[0] / 0.7, 0.0)
    torch.testing.assert_close(y, expected)
    found, wanted = (torch.autograd.grad(it.sin().sum(), x)[0] for it in (y, expected))
    torch.testing.assert_close(found, wanted)


def test_only_training_is_random() -> None:
    for settings in ({"activation": "rrelu", "dropouts": (0, 0, 0)}, {"dropouts": (0.2, 0.2, 0.2)}):
        cube = made(**settings)
        x = drawn(2, 9, 3, 6)
        assert not torch.equal(cube(x), cube(x))
        assert torch.equal(cube.eval()(x), cube(x))


def test_one_graph_serves_all_batches() -> None:
    for training in (True, False):
        cube = made(d_hiddens=((7, 3, 5),), activation="prelu").train(training)
        counter = CompileCounter()
        compiled = torch.compile(cube, backend=counter, fullgraph=True, dynamic=True)
        for batch in (2, 5, 7):
            y = compiled(drawn(batch, 6, 3, 6))
            if not training:
                assert torch.equal(y, cube(drawn(batch, 6, 3, 6)))
        assert counter.frame_count == 1


def test_an_exported_cube_takes_every_batch_and_number_of_frames(tmp_path: Path) -> None:  # CUBEMLP-C12, of the cube
    onnxruntime = pytest.importorskip("onnxruntime")
    cube = made(d_hiddens=((7, 3, 5),)).float().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter uses a deprecated name of torch
        torch.onnx.export(
            cube,
            (torch.zeros(2, 5, 3, 6),),
            str(tmp_path / "cube.onnx"),
            dynamo=True,
            input_names=["x"],
            dynamic_shapes={"x": {0: torch.export.Dim("batch"), 1: torch.export.Dim("frames", max=9)}},
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / "cube.onnx")
    for batch in (1, 7):
        for frames in (1, 4, 9):
            x = drawn(batch, frames, 3, 6).float()
            exact = copy.deepcopy(cube).double()(x.double()).detach()
            own_rounding = (cube(x) - exact).abs().max()
            found = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
            # Layer norms are steep where one frame of many is not zero: there float32 itself is this far from float64.
            assert (found - exact).abs().max() < max(1e-5, 4 * own_rounding)
