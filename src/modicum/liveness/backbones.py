"""Where features come from: MiniFASNetV2-SE of the catalogue, DepthNet, or a vision model of transformers."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from modicum.core import catalogue
from modicum.core.extras import require

if TYPE_CHECKING:
    from modicum.liveness.configuration import FGHVConfig

_MINIFAS = "models/best/98.20/best_model.onnx"
_PENULTIMATE = "/bn/BatchNormalization_output_0"


class MiniFAS(nn.Module):
    """MiniFASNetV2-SE as it was trained on CelebA-Spoof (non-commercial terms), frozen, in onnxruntime on the CPU."""

    # A module without parameters: the weights stay in the catalogue, and no saved model carries them.

    @cached_property
    def _session(self) -> Any:
        onnx: Any = require("onnx", extra="liveness", purpose="MiniFASNetV2-SE")
        runtime: Any = require("onnxruntime", extra="liveness", purpose="MiniFASNetV2-SE")
        network = onnx.load(str(catalogue.fetch("models/face-antispoof-onnx") / _MINIFAS))
        shape = [None, 128]
        network.graph.output.append(onnx.helper.make_tensor_value_info(_PENULTIMATE, onnx.TensorProto.FLOAT, shape))
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads, settings.log_severity_level = torch.get_num_threads(), 3
        return runtime.InferenceSession(network.SerializeToString(), settings, providers=["CPUExecutionProvider"])

    def forward(self, pixels: Tensor) -> Tensor:
        """Give the 128 numbers before the last layer, for RGB of 128 x 128 pixels from 0 to 1."""
        return self.both(pixels)[0]

    def both(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give the features and the network's own margin for a genuine face: its threshold is 0."""
        features, logits = self._session.run([_PENULTIMATE, "output"], {"input": pixels.float().cpu().numpy()})
        return torch.from_numpy(features), torch.from_numpy(logits[:, 0] - logits[:, 1])

    def __deepcopy__(self, _: object) -> MiniFAS:
        return self  # it has no state


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def _chain(*sizes: int, pooled: bool = False) -> nn.Sequential:
    pool = [nn.MaxPool2d(2)] if pooled else []
    return nn.Sequential(*itertools.chain(*([_convolution(*pair), *pool] for pair in itertools.pairwise(sizes))))


class DepthNet(nn.Module):
    """The backbone that the survey names, as in the authors' ANRL without adaptive norms: 47 GMAC for 256 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _convolution(6, 64)
        self.down = nn.ModuleList(
            nn.Sequential(_chain(inputs, 128, 196, 128), nn.MaxPool2d(2)) for inputs in (64, 128, 128)
        )
        self.embed = nn.Sequential(
            _chain(384, 128, 256, pooled=True), _convolution(256, 512), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give 512 numbers for RGB from -1 to 1."""
        level = self.first(torch.cat([pixels, 2 * hsv((pixels + 1) / 2) - 1], dim=1))
        levels: list[Tensor] = []
        for down in self.down:
            level = down(level)
            levels.append(level)
        side = levels[-1].shape[-1]
        return self.embed(torch.cat([avg_pool2d(found, found.shape[-1] // side) for found in levels], dim=1))


def hsv(pixels: Tensor) -> Tensor:
    """Turn RGB into hue, saturation and value, all from 0 to 1, shape (n, 3, height, width); without a gradient."""
    colour: Any = require("skimage.color", extra="liveness", purpose="DepthNet")
    return torch.from_numpy(colour.rgb2hsv(pixels.detach().cpu().numpy(), channel_axis=1)).to(pixels)


class Pooled(nn.Module):
    """A vision model of transformers, reduced to one vector an image: its pooled output, or the mean over positions."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Give one row an image."""
        output = self.network(pixel_values=pixels)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        hidden = output.last_hidden_state
        return hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))


def build_backbone(config: FGHVConfig) -> nn.Module | None:
    """Make the backbone of a configuration, transformers' with random weights; None for vectors."""
    match config.backbone:
        case "minifas":
            return MiniFAS()
        case "depthnet":
            return DepthNet()
        case "transformers":
            auto: Any = require("transformers", extra="liveness", purpose="A vision model").AutoModel
            return Pooled(auto.from_config(config.backbone_config))
        case _:
            return None
