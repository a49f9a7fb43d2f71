"""``modicum quantize``: powers of two for image classifiers, proofs of them, and files for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modicum.cli.common import Device, Json, print_json, progress_bar, say, stoppable
from modicum.core.devices import check_device
from modicum.core.files import check_target
from modicum.errors import ConfigError, ModicumError
from modicum.quantize.doors import check_count, check_images, check_network, check_stored, check_there

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modicum.quantize.configuration import LayerBits
    from modicum.quantize.inspect.certificate import Certificate
    from modicum.quantize.model import QuantizedModel


app = typer.Typer(help="Quantize image classifiers to powers of two, and prove it.", no_args_is_help=True)

StoredNetwork = Annotated[Path, typer.Argument(help="The .safetensors file that modicum quantize run wrote.")]

_NOTHING_HALF = "No file was left half-written."


@app.command()
def run(  # noqa: PLR0913 - one argument an option
    model: Annotated[
        str, typer.Argument(help="Folder of a transformers image classifier, resnet20 or efficientnet-lite0.")
    ],
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
        Literal["hessian", "paper"],
        typer.Option(help="Second moments alone (hessian), or gradient descent after them (paper)."),
    ] = "hessian",
    granularity: Annotated[
        Literal["channel", "tensor"],
        typer.Option(help="Exponents of weights: one for each output channel, or one for a layer."),
    ] = "channel",
    iterations: Annotated[int, typer.Option(help="Gradient steps for each unit (--method paper).")] = 2000,
    rounding: Annotated[
        Literal["half_even", "half_up"], typer.Option(help="How requantization rounds ties.")
    ] = "half_even",
    samples: Annotated[int, typer.Option(help="Number of images drawn from the calibration.")] = 256,
    test: Annotated[
        Path | None, typer.Option(help=".npz of images x and classes y: accuracy of both networks.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw, and of batches (--method paper).")] = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Quantize a trained network so that every scale is a power of two, and write it to one file.

    A folder is what save_pretrained of transformers writes: config.json and model.safetensors.
    """
    from modicum.quantize.configuration import RAPQConfig

    config = RAPQConfig(
        weight_bits=weights,
        activation_bits=_activation_bits(activations),
        first_last_bits=first_last,
        granularity=granularity,
        method=method,
        iterations=iterations,
        rounding=rounding,
        per_layer=_layers(layer or []),
        seed=seed,
    )
    _check_file(file, ".safetensors", "--out", (model, calibration, test))
    check_count(samples)
    check_network(model)
    check_images(calibration)
    if test is not None:
        check_there(test)
    check_device(device)
    # Torch takes seconds to import: what is wrong in the arguments is said before.
    from modicum.core.measure import measured
    from modicum.quantize.io.images import read_samples, read_test
    from modicum.quantize.networks import open_network
    from modicum.quantize.quantizer import quantize

    with stoppable(_NOTHING_HALF):
        opened = open_network(model)
        images = read_samples(calibration, samples, seed=seed, preparation=lambda: opened.preparation)
        judged = None if test is None else read_test(test)
        network = opened.sized().to(device)
        with progress_bar("quantize") as progress:
            progress(0, 0, "trace")
            quantized, cost = measured(lambda: quantize(network, images, config, integers_only=True, progress=progress))
        found = {} if judged is None else _judge(network, quantized, *judged)
        quantized.save(file)
    summary, certificate, size = quantized.report(), quantized.verify(), file.stat().st_size
    if json:
        row = {
            "file": str(file),
            "file_bytes": size,
            "samples": len(images),
            "seconds": cost.seconds,
            "memory_mib": cost.memory,
            "accuracy": found or None,
            "report": summary.to_dict(),
            "certificate": _certificate_row(certificate),
        }
        print_json(row)
    else:
        typer.echo("\n".join([str(summary), *certificate.sentences()]))
        if found:
            before, after = found["float"], found["quantized"]
            typer.echo(f"Accuracy on {found['images']:,} images: {before:.4f} float, {after:.4f} quantized.")
    say(f"{len(images)} images, {cost.seconds:.1f} s, {size:,} bytes: {file}")


@app.command()
def verify(file: StoredNetwork, *, json: Json = False) -> None:
    """Prove that all scales are powers of two, and report how wide every sum is."""
    check_stored(file)
    from modicum.quantize.model import QuantizedModel

    certificate = QuantizedModel.load(file).verify()
    if json:
        print_json({"file": str(file), **_certificate_row(certificate)})
    else:
        typer.echo(str(certificate))
    if not certificate.holds:
        raise typer.Exit(1)


@app.command()
def export(
    file: StoredNetwork,
    *,
    onnx: Annotated[Path | None, typer.Option(help="ONNX file to write, for onnxruntime.")] = None,
    c: Annotated[Path | None, typer.Option("--c", help="Folder of model.c and model.h to write.")] = None,
    example: Annotated[
        Path | None, typer.Option(help="Images (.npy, .npz) on which onnxruntime is compared with the network.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a quantized network for other programs."""
    _check_export(file, onnx, c, example)
    from modicum.quantize.model import QuantizedModel  # torch takes seconds to import

    model = QuantizedModel.load(file)
    images = None if example is None else _images(example, model.shape)
    wanted: dict[str, Callable[[], Any]] = {}
    if c is not None:
        wanted["c"] = lambda: _c(model, c)
    if onnx is not None:
        wanted["onnx"] = lambda: _onnx(model, onnx, images, json=json)
    summary: dict[str, Any] = {"file": str(file)}
    failed: dict[str, ModicumError] = {}
    with stoppable(_NOTHING_HALF):
        for name, write in wanted.items():
            try:
                summary[name] = write()
            except ModicumError as error:
                failed[name] = error
    if len(failed) == len(wanted):
        raise next(iter(failed.values()))
    for name, error in failed.items():
        say(f"modicum: --{name} was not written: {error.what}\n  {error.hint}")
    if failed:
        summary["failed"] = {name: str(error) for name, error in failed.items()}
    if json:
        print_json(summary)
    if failed:
        raise typer.Exit(1)


def _check_export(file: Path, onnx: Path | None, c: Path | None, example: Path | None) -> None:
    if onnx is None and c is None:
        raise ConfigError("There is nothing to export to.", hint="Give --onnx FILE, --c FOLDER or both.")
    if example is not None and onnx is None:
        raise ConfigError("--example compares an ONNX file, and none is written.", hint="Give --onnx FILE.")
    if onnx is not None:
        _check_file(onnx, ".onnx", "--onnx", (file, example))
    if c is not None:
        check_target(c, option="--c", folder=True, inputs=(file, example))
    if example is not None:
        check_images(example)
    check_stored(file)


def _judge(network: nn.Module, quantized: QuantizedModel, images: Tensor, labels: Tensor) -> dict[str, Any]:
    from modicum.quantize.networks import accuracy

    if tuple(images.shape[1:]) != quantized.shape:
        raise ConfigError(
            f"The test images have shape {tuple(images.shape[1:])}, those of the calibration {quantized.shape}.",
            hint="Bring both to one shape.",
        )
    before, after = (accuracy(judged, images, labels) for judged in (network, quantized))
    return {"images": len(labels), "float": before, "quantized": after}


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


def _check_file(file: Path, suffix: str, option: str, inputs: Iterable[Path | str | None]) -> None:
    if file.suffix != suffix:
        raise ConfigError(f"{option} must end in {suffix}, got {file}.", hint=f"Write {option} {file.stem}{suffix}.")
    check_target(file, option=option, inputs=inputs)


def _images(path: Path, shape: tuple[int, ...]) -> Tensor:
    from modicum.quantize.io.images import read_samples

    images = read_samples(path)
    if tuple(images.shape[1:]) != shape:
        raise ConfigError(
            f"The images in {path} have shape {tuple(images.shape[1:])}, but the network takes {shape}.",
            hint="Give images of that shape.",
        )
    return images


def _onnx(model: QuantizedModel, path: Path, images: Tensor | None, *, json: bool) -> dict[str, Any]:
    agreement = model.export_onnx(path, images)
    say(f"ONNX: {path}")
    if agreement is None or images is None:
        return {"path": str(path)}
    if not json:
        typer.echo(f"onnxruntime on {len(images)} images:\n{agreement}")
    return {"path": str(path), "images": len(images), **asdict(agreement)}


def _c(model: QuantizedModel, folder: Path) -> list[str]:
    from modicum.quantize.engine.c_source import write_c
    from modicum.quantize.engine.program import lower

    written = [str(path) for path in write_c(lower(model), folder)]
    say(f"C: {', '.join(written)}")
    return written


def _certificate_row(certificate: Certificate) -> dict[str, Any]:
    return {"holds": certificate.holds, "whole": certificate.whole, **asdict(certificate)}  # the verdicts first
