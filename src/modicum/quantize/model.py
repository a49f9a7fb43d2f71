"""A quantized network: integer codes, integer exponents, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from modicum.errors import ConfigError
from modicum.quantize.codes import Codes, Grids
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.graph.graph import Graph

if TYPE_CHECKING:
    from modicum.quantize.inspect.certificate import Certificate
    from modicum.quantize.inspect.report import LayerQuality, Summary
    from modicum.quantize.io.onnx import OnnxAgreement


class QuantizedModel(nn.Module):
    """A network on a grid; called like the network that it was made from.

    Its forward pass is a simulation in floating point. Where `verify` says that the sums of a layer fit float32
    exactly, it computes the very numbers of the integer engine.

    Args:
        graph: from `placement.simulated`: its layers hold weights and biases of the grid.
        codes: of the layers, by name.
        grids: of tensors between layers, by node name; empty if only weights are quantized.
        config: how it was made.
        shape: of one sample of the input, without the batch.
        network: the module that runs, where the graph stands for one that cannot be traced.
        quality: what was measured of layers on calibration data, by name; empty if nothing was.
    """

    def __init__(
        self,
        graph: Graph,
        codes: Codes,
        grids: Grids,
        *,
        config: RAPQConfig,
        shape: tuple[int, ...],
        network: nn.Module | None = None,
        quality: Mapping[str, LayerQuality] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.graph = graph
        self.codes = dict(codes)
        self.grids = dict(grids)
        self.config = config
        self.shape = tuple(shape)
        self.quality = dict(quality or {})

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch of the original network's input to its output.

        Raises:
            ConfigError: if samples have another shape than those of the calibration.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ConfigError(
                f"Samples must have shape {self.shape}, got {tuple(x.shape[1:])}.",
                hint="Bring them to the shape of the calibration data.",
            )
        return self.graph.run({}, x=x, through=self._to_grid)[self.graph.output]

    def verify(self) -> Certificate:
        """Prove what can be proved of it: integer codes and exponents, and the width of every sum."""
        from modicum.quantize.inspect.certificate import certify

        return certify(self)

    def report(self) -> Summary:
        """Say what it is made of, layer by layer: bits, exponents, bytes, clipping and noise."""
        from modicum.quantize.inspect.report import summarise

        return summarise(self)

    def save(self, path: Path) -> None:
        """Write one safetensors file with packed weights, whole or not at all; see `storage.save`."""
        from modicum.quantize.io.storage import save

        save(self, path)

    @classmethod
    def load(cls, path: Path, network: nn.Module | None = None) -> QuantizedModel:
        """Read a file that `save` wrote.

        Args:
            path: of the file.
            network: of the class and sizes that were quantized, with any weights: needed where an operator has no
                integer form, since the file has no code.

        Raises:
            ConfigError: if `network` is needed and missing, or is another one.
            DataError: if it is no such file, or a damaged one.
        """
        from modicum.quantize.io.storage import load

        graph, codes, found = load(path, network)
        return cls(graph, codes, found.grids, config=found.config, shape=found.shape, quality=found.quality)

    def export_onnx(self, path: Path, example: Tensor | None = None, *, opset: int = 21) -> OnnxAgreement | None:
        """Write an ONNX file of QuantizeLinear and DequantizeLinear, and say how far onnxruntime is from this network.

        Args:
            path: replaced if it exists.
            example: samples on which onnxruntime is compared, with its optimisations off and on.
            opset: version of the operators.

        Returns:
            The comparison; None without samples.

        Raises:
            ConfigError: if the version is not supported.
            MissingExtraError: if onnx, or onnxruntime for the comparison, is not installed.
            ModelError: if an operation has no ONNX form here; it is named.
        """
        from modicum.quantize.io.onnx import compare_onnx, export_onnx

        export_onnx(self, path, opset=opset)
        return None if example is None else compare_onnx(self, path, example)

    def _to_grid(self, name: str, value: Tensor) -> Tensor:
        grid = self.grids.get(name)
        return value if grid is None else grid.apply(value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - as torch
        super()._apply(fn, recurse)
        self.graph = _mapped(self.graph, fn)
        return self


def _mapped(graph: Graph, fn: Callable[[Tensor], Tensor]) -> Graph:
    return graph.with_operations({node.name: node.operation.mapped(fn) for node in graph})
