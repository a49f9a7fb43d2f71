"""``modicum quantize export``: ONNX, and C without floating point."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, say, stoppable
from modicum.cli.quantize.running import NOTHING_HALF
from modicum.cli.quantize.verification import StoredNetwork, as_json
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.quantize.engine.steps import Program
    from modicum.quantize.model import QuantizedModel

__all__ = ["export"]


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
    """Write a quantized network for other programs.

    Raises:
        ConfigError: if nothing is to be written, or there are images and no ONNX file.
    """
    from modicum.quantize.model import QuantizedModel

    if onnx is None and c is None:
        raise ConfigError("There is nothing to export to.", hint="Give --onnx FILE, --c FOLDER or both.")
    if example is not None and onnx is None:
        raise ConfigError("--example compares an ONNX file, and none is written.", hint="Give --onnx FILE.")
    model = QuantizedModel.load(file)
    summary: dict[str, Any] = {"file": str(file)}
    with stoppable(NOTHING_HALF):
        program = None if c is None else _lowered(model)
        if onnx is not None:
            summary["onnx"] = _onnx(model, onnx, example, json=json)
        if c is not None and program is not None:
            summary["c"] = _c(program, c)
    if json:
        typer.echo(as_json(summary))


def _onnx(model: QuantizedModel, path: Path, example: Path | None, *, json: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from modicum.quantize.samples import read_samples

    images = None if example is None else read_samples(example)
    if images is not None and tuple(images.shape[1:]) != model.shape:
        raise ConfigError(
            f"The images in {example} have shape {tuple(images.shape[1:])}, but the network takes {model.shape}.",
            hint="Give images of that shape.",
        )
    agreement = model.export_onnx(path, images)
    say(f"ONNX: {path}")
    if agreement is None or images is None:
        return {"path": str(path)}
    if not json:
        typer.echo(f"onnxruntime on {len(images)} images:\n{agreement}")
    return {"path": str(path), "images": len(images), **asdict(agreement)}


def _lowered(model: QuantizedModel) -> Program:
    # Before anything is written: a network without integers for everything is refused here.
    from modicum.quantize.engine.program import lower

    return lower(model)


def _c(program: Program, folder: Path) -> list[str]:
    from modicum.quantize.engine.source import write_c

    written = [str(path) for path in write_c(program, folder)]
    say(f"C: {', '.join(written)}")
    return written
