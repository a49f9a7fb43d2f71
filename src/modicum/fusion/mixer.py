"""CubeMLP: three MLPs a block, which mix a cube along time, modality and channel."""

from __future__ import annotations

from torch import Tensor, nn

from modicum.errors import ModelError
from modicum.fusion.activations import make_activation
from modicum.fusion.configuration import CubeMLPConfig
from modicum.fusion.functional import AXES, Axis, MixerWeights, Norm, mix

__all__ = ["CubeMLP", "Mixer"]


class Mixer(nn.Module):
    """An MLP along one axis, with its layer norm and its residual.

    Args:
        config: of the whole cube.
        axis: that is mixed.
        sizes: (d_in, d_hidden, d_out) along it.
        project: whether the residual has a projection, which is free of a bias.
    """

    def __init__(self, config: CubeMLPConfig, axis: Axis, sizes: tuple[int, int, int], *, project: bool) -> None:
        super().__init__()
        d_in, d_hidden, d_out = sizes
        self.axis: Axis = axis
        self.placement: Norm = config.norm
        self.rate = config.dropouts[AXES[axis] - 1]
        self.fc1 = nn.Linear(d_in, d_hidden, bias=config.bias)
        self.fc2 = nn.Linear(d_hidden, d_out, bias=config.bias)
        self.norm = nn.LayerNorm(d_in if config.norm == "pre" else d_out, eps=config.layer_norm_eps)
        self.residual = nn.Linear(d_in, d_out, bias=False) if project else None
        self.activation = make_activation(config.activation)

    @property
    def weights(self) -> MixerWeights:
        """The numbers, as `functional.mix` takes them."""
        return MixerWeights(
            (self.fc1.weight, self.fc1.bias),
            (self.fc2.weight, self.fc2.bias),
            (self.norm.weight, self.norm.bias),
            None if self.residual is None else self.residual.weight,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix a cube of shape (batch, time, modality, channel)."""
        return mix(
            x,
            self.axis,
            self.weights,
            norm=self.placement,
            activation=self.activation,
            dropout=self.rate,
            eps=self.norm.eps,
            training=self.training,
        )


class _Block(nn.Module):
    def __init__(self, config: CubeMLPConfig, shapes: tuple[list[int], list[int], list[int]], *, project: bool) -> None:
        super().__init__()
        for axis, *sizes in zip(AXES, *shapes, strict=True):
            self.add_module(axis, Mixer(config, axis, (sizes[0], sizes[1], sizes[2]), project=project))

    def forward(self, x: Tensor) -> Tensor:
        for mixer in self.children():
            x = mixer(x)
        return x


class CubeMLP(nn.Module):
    """Mix a cube along time, modality and channel, block after block.

    Args:
        config: sizes, norm, activation and dropout; what it says of streams is for `CubeMLPForPrediction`.

    Source:
        Sun, Wang, Liu, Chen and Lin, "CubeMLP" (ACM MM 2022), section 3; the placement of the norm is that of the
        released code unless ``config.norm`` is "branch".
    """

    def __init__(self, config: CubeMLPConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(
            _Block(config, shapes, project=project)
            for shapes, project in zip(config.shapes(), config.res_project, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix a cube.

        Args:
            x: shape (batch, *config.d_ins).

        Returns:
            Shape (batch, *config.d_outs[-1]).

        Raises:
            ModelError: if x is of another shape.
        """
        if x.ndim != 4 or list(x.shape[1:]) != self.config.d_ins:
            raise ModelError(
                f"A cube of shape (batch, {', '.join(map(str, self.config.d_ins))}) was expected, got "
                f"{tuple(x.shape)}.",
                mend="Stack the modalities on axis 2, and pad or crop the time.",
            )
        for block in self.blocks:
            x = block(x)
        return x
