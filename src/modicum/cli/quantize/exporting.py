"""``modicum quantize export``: ONNX, and C without floating point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, say, stoppable
from modicum.cli.quantize.running import NOTHING_HALF
from modicum.cli.quantize.verification import StoredNetwork, as_json
from modicum.core.files import check_target
from modicum.errors import ConfigError, ModicumError
from modicum.quantize.doors import check_images, check_stored

if TYPE_CHECKING:
    from torch import Tensor

    from modicum.quantize.model import QuantizedModel


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
    _check(onnx, c, file, example)
    check_stored(file)
    # Torch takes seconds to import: what is wrong in the arguments is said before.
    from modicum.quantize.model import QuantizedModel

    model = QuantizedModel.load(file)
    images = None if example is None else _images(example, model.shape)
    wanted: dict[str, Callable[[], Any]] = {}
    if c is not None:
        wanted["c"] = lambda: _c(model, c)
    if onnx is not None:
        wanted["onnx"] = lambda: _onnx(model, onnx, images, json=json)
    summary: dict[str, Any] = {"file": str(file)}
    failed: dict[str, ModicumError] = {}
    with stoppable(NOTHING_HALF):
        for name, write in wanted.items():
            try:
                summary[name] = write()
            except ModicumError as error:
                failed[name] = error
    if len(failed) == len(wanted):
        (error, *_) = failed.values()
        raise error
    for name, error in failed.items():
        say(f"modicum: --{name} was not written: {error.what}\n  {error.hint}")
    if json:
        typer.echo(as_json(summary | ({"failed": {name: str(it) for name, it in failed.items()}} if failed else {})))
    if failed:
        raise typer.Exit(1)


def _check(onnx: Path | None, c: Path | None, file: Path, example: Path | None) -> None:
    if onnx is None and c is None:
        raise ConfigError("There is nothing to export to.", hint="Give --onnx FILE, --c FOLDER or both.")
    if example is not None and onnx is None:
        raise ConfigError("--example compares an ONNX file, and none is written.", hint="Give --onnx FILE.")
    if onnx is not None:
        if onnx.suffix != ".onnx":
            raise ConfigError(f"--onnx must end in .onnx, got {onnx}.", hint=f"Write --onnx {onnx.stem}.onnx.")
        check_target(onnx, option="--onnx", inputs=(file, example))
    if c is not None:
        check_target(c, option="--c", folder=True, inputs=(file, example))
    if example is not None:
        check_images(example)


def _images(path: Path, shape: tuple[int, ...]) -> Tensor:
    from modicum.quantize.samples import read_samples

    images = read_samples(path)
    if tuple(images.shape[1:]) != shape:
        raise ConfigError(
            f"The images in {path} have shape {tuple(images.shape[1:])}, but the network takes {shape}.",
            hint="Give images of that shape.",
        )
    return images


def _onnx(model: QuantizedModel, path: Path, images: Tensor | None, *, json: bool) -> dict[str, Any]:
    from dataclasses import asdict

    agreement = model.export_onnx(path, images)
    say(f"ONNX: {path}")
    if agreement is None or images is None:
        return {"path": str(path)}
    if not json:
        typer.echo(f"onnxruntime on {len(images)} images:\n{agreement}")
    return {"path": str(path), "images": len(images), **asdict(agreement)}


def _c(model: QuantizedModel, folder: Path) -> list[str]:
    from modicum.quantize.engine.program import lower
    from modicum.quantize.engine.source import write_c

    written = [str(path) for path in write_c(lower(model), folder)]
    say(f"C: {', '.join(written)}")
    return written
