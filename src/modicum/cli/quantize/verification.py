"""``modicum quantize verify``: read a quantized network and prove what it is."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json
from modicum.quantize.doors import check_stored

if TYPE_CHECKING:
    from modicum.quantize.certificate import Certificate


StoredNetwork = Annotated[Path, typer.Argument(help="The .safetensors file that modicum quantize run wrote.")]


def verify(file: StoredNetwork, *, json: Json = False) -> None:
    """Prove that all scales are powers of two, and tell how wide every sum is."""
    check_stored(file)
    from modicum.quantize.model import QuantizedModel

    certificate = QuantizedModel.load(file).verify()
    typer.echo(as_json({"file": str(file), **certificate_row(certificate)}) if json else str(certificate))
    if not certificate.holds:
        raise typer.Exit(1)


def certificate_row(certificate: Certificate) -> dict[str, Any]:
    """Give a certificate as what JSON can hold, its verdicts first."""
    verdicts = {"holds": certificate.holds, "whole": certificate.whole}
    return verdicts | asdict(certificate)


def as_json(row: object) -> str:
    """Write JSON; a ratio that is infinite (an output without error) has no number there, and becomes null."""
    return json_format.dumps(_finite(row), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _finite(it) for name, it in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_finite(it) for it in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, float) and value in {float("inf"), float("-inf")}:
        return None
    return value
