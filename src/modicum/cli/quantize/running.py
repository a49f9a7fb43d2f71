"""``modicum quantize run``: from a trained network and some images to a file of integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, progress_bar, say, stoppable
from modicum.cli.quantize.verification import as_json, certificate_row
from modicum.core.devices import check_device
from modicum.core.files import check_target
from modicum.errors import ConfigError
from modicum.quantize.doors import check_count, check_images, check_network, check_there

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modicum.core.measure import Cost
    from modicum.quantize.configuration import LayerBits, RAPQConfig
    from modicum.quantize.model import QuantizedModel


NOTHING_HALF = "No file was left half-written."


class MethodName(StrEnum):
    """The methods, as typer wants them."""

    hessian = "hessian"
    paper = "paper"


class GranularityName(StrEnum):
    """What has an exponent of its own, as typer wants it."""

    channel = "channel"
    tensor = "tensor"


class RoundingName(StrEnum):
    """What happens to a tie, as typer wants it."""

    half_even = "half_even"
    half_up = "half_up"


def run(  # noqa: PLR0913 - one argument an option
    model: Annotated[str, typer.Argument(help="Folder of a transformers image classifier, or resnet20.")],
    *,
    calibration: Annotated[
        Path, typer.Option(help="Normalised images (.npy, or x of .npz), or a folder of pictures; no labels.")
    ],
    file: Annotated[Path, typer.Option("--out", help="The .safetensors file to write.")],
    weights: Annotated[int, typer.Option(help="Bits of weights, 2 to 8.")] = 4,
    activations: Annotated[str, typer.Option(help="Bits of activations, 2 to 8, or none for float.")] = "4",
    first_last: Annotated[int, typer.Option(help="Bits of the first and the last layer, 2 to 8.")] = 8,
    layer: Annotated[
        list[str] | None, typer.Option(help="Bits of one layer, NAME=WEIGHTS or NAME=WEIGHTS/ACTIVATIONS; repeatable.")
    ] = None,
    method: Annotated[
        MethodName, typer.Option(help="Second moments alone (hessian), or gradient descent after them (paper).")
    ] = MethodName.hessian,
    granularity: Annotated[
        GranularityName, typer.Option(help="Exponents of weights: one for each output channel, or one for a layer.")
    ] = GranularityName.channel,
    iterations: Annotated[int, typer.Option(help="Gradient steps for each unit (--method paper).")] = 2000,
    rounding: Annotated[RoundingName, typer.Option(help="How requantization rounds ties.")] = RoundingName.half_even,
    samples: Annotated[int, typer.Option(help="Number of images drawn from the calibration.")] = 256,
    test: Annotated[
        Path | None, typer.Option(help=".npz of images x and classes y: accuracy of both networks.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw, and of batches (--method paper).")] = 0,
    device: Annotated[str, typer.Option(help="cpu, or a GPU as torch knows it: cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Quantize a trained network so that every scale is a power of two, and write it to one file.

    A folder is what save_pretrained of transformers writes: config.json and model.safetensors.
    """
    config = _config(
        weight_bits=weights,
        activation_bits=_activation_bits(activations),
        first_last_bits=first_last,
        granularity=granularity.value,
        method=method.value,
        iterations=iterations,
        rounding=rounding.value,
        per_layer=_layers(layer or []),
        seed=seed,
    )
    _check_place(file, (model, calibration, test))
    check_count(samples)
    check_network(model)
    check_images(calibration)
    if test is not None:
        check_there(test)
    check_device(device)
    # Torch takes seconds to import: what is wrong in the arguments is said before.
    from modicum.core.measure import measured
    from modicum.quantize.calibration import check_samples
    from modicum.quantize.opening import open_network
    from modicum.quantize.samples import read_samples, read_test

    with stoppable(NOTHING_HALF):
        opened = open_network(model)
        images = read_samples(calibration, samples, seed=seed, preparation=lambda: opened.preparation)
        check_samples(images, opened.network, opened.size)
        judged = None if test is None else read_test(test)
        network = opened.network.to(device)
        quantized, cost = measured(lambda: _quantize(network, images.to(device), config))
        found = {} if judged is None else _judge(network, quantized, *judged)
        quantized.save(file)
    _tell(quantized, file, len(images), found, cost, json=json)


def _quantize(network: nn.Module, images: Tensor, config: RAPQConfig) -> QuantizedModel:
    from modicum.quantize.opening import traced
    from modicum.quantize.quantizer import quantize_graph

    with progress_bar("quantize") as progress:
        done = 0

        def tell(text: str) -> None:
            nonlocal done
            done += 1
            progress(done, 0, text)

        progress(0, 0, "trace")
        return quantize_graph(traced(network, images), images, config, progress=tell)


def _judge(network: nn.Module, quantized: QuantizedModel, images: Tensor, labels: Tensor) -> dict[str, Any]:
    from modicum.quantize.opening import accuracy

    if tuple(images.shape[1:]) != quantized.shape:
        raise ConfigError(
            f"The test images have shape {tuple(images.shape[1:])}, those of the calibration {quantized.shape}.",
            hint="Bring both to one shape.",
        )
    both = (accuracy(it, images, labels) for it in (network, quantized))
    return {"images": len(labels), **dict(zip(("float", "quantized"), both, strict=True))}


def _tell(
    quantized: QuantizedModel, file: Path, samples: int, found: dict[str, Any], cost: Cost, *, json: bool
) -> None:
    summary, certificate = quantized.report(), quantized.verify()
    if json:
        row = {
            "file": str(file),
            "file_bytes": file.stat().st_size,
            "samples": samples,
            "seconds": cost.seconds,
            "memory_mib": cost.memory,
            "accuracy": found or None,
            "report": summary.to_dict(),
            "certificate": certificate_row(certificate),
        }
        typer.echo(as_json(row))
    else:
        typer.echo("\n".join([str(summary), *certificate.sentences()]))
        if found:
            before, after = found["float"], found["quantized"]
            typer.echo(f"Accuracy on {found['images']:,} images: {before:.4f} float, {after:.4f} quantized.")
    say(f"{samples} images, {cost.seconds:.1f} s, {file.stat().st_size:,} bytes: {file}")


def _config(**values: Any) -> RAPQConfig:
    from modicum.quantize.configuration import RAPQConfig

    return RAPQConfig(**values)


def _activation_bits(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal():
        raise ConfigError(
            f"--activations takes an integer from 2 to 8 or none, got {text!r}.", hint="Write --activations 4."
        )
    return int(text)


def _layers(entries: Sequence[str]) -> dict[str, LayerBits]:
    from modicum.quantize.configuration import LayerBits

    found: dict[str, LayerBits] = {}
    for entry in entries:
        name, _, bits = entry.rpartition("=")
        weight, _, activation = bits.partition("/")
        if not name or not weight.isdecimal() or not (activation.isdecimal() or "/" not in bits):
            raise ConfigError(
                f"--layer takes NAME=WEIGHTS or NAME=WEIGHTS/ACTIVATIONS, got {entry!r}.",
                hint="Write --layer classifier.1=8/8.",
            )
        found[name] = LayerBits(weight_bits=int(weight), activation_bits=int(activation) if activation else None)
    return found


def _check_place(file: Path, inputs: Iterable[Path | str | None]) -> None:
    # Said before the work, not after it.
    if file.suffix != ".safetensors":
        raise ConfigError(f"--out must end in .safetensors, got {file}.", hint=f"Write --out {file.stem}.safetensors.")
    check_target(file, option="--out", inputs=inputs)
