from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from modicum.core.resnet import resnet20
from modicum.core.seeding import torch_generator


@pytest.mark.data("models/pytorch_resnet_cifar10")
def test_public_checkpoint_fits_name_by_name() -> None:
    folder = os.environ.get("MODICUM_DATA")
    path = Path(folder or "", "models/pytorch_resnet_cifar10/pretrained_models/resnet20-12fca82f.th")
    if not folder or not path.is_file():
        pytest.skip("the checkpoint of ResNet-20 is not in MODICUM_DATA")
    saved = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    model = resnet20()
    model.load_state_dict({name.removeprefix("module."): value for name, value in saved.items()}, strict=True)


def test_resnet20_has_the_published_number_of_parameters() -> None:
    # He et al. 2016, Table 6: 0.27 million.
    assert sum(parameter.numel() for parameter in resnet20().parameters()) == 269_722


def test_shortcut_passes_every_second_pixel_between_new_channels_of_zeros() -> None:
    block = resnet20().get_submodule("layer2.0")
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(1, 16, 8, 8, generator=torch_generator(0, "x"))
    out = block(x)
    assert out.shape == (1, 32, 4, 4)
    torch.testing.assert_close(out[:, 8:24], x[:, :, ::2, ::2], rtol=0, atol=0)
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_initial_weights_come_from_the_generator_alone() -> None:
    first, again = (resnet20(generator=torch_generator(3, "initialisation")) for _ in range(2))
    other = resnet20(generator=torch_generator(4, "initialisation"))
    for (name, mine), same, different in zip(
        first.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(mine, same), name
        if mine.ndim > 1:
            assert not torch.equal(mine, different), name


def test_initial_weights_have_the_variance_of_a_rectifier() -> None:
    weight = resnet20(generator=torch_generator(0, "initialisation")).get_parameter("layer3.2.conv2.weight")
    # 36,864 draws: the standard error of the standard deviation is 0.4 %.
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
