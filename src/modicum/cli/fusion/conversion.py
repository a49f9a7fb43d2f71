"""``modicum fusion convert``: from the pickles, HDF5 and CSV files of the field to one that anyone can read."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json
from modicum.cli.fusion.sources import ClipLabels, FormatOption, Gigabytes, Source, opened

if TYPE_CHECKING:
    from modicum.fusion.recordings import Recordings


def convert(
    source: Source,
    *,
    file: Annotated[Path, typer.Option("--out", help="File that ends in .safetensors or .npz.")],
    format: FormatOption = "auto",  # noqa: A002 - the name of the option
    gigabytes: Gigabytes = 1.0,
    clip_labels: ClipLabels = False,
    json: Json = False,
) -> None:
    """Read recordings in the format of another project, and write them without a pickle."""
    from modicum.core.files import check_target
    from modicum.fusion.storage import check_suffix, save_recordings

    check_suffix(file)
    check_target(file, option="--out", inputs=(source,))
    found = opened(source, format, gigabytes, clip=clip_labels)
    save_recordings(file, found.splits)
    summary = {
        "file": str(file),
        "format": found.format,
        "splits": {name: _described(part) for name, part in found.splits.items()},
    }
    typer.echo(json_format.dumps(summary, indent=2) if json else _words(summary))


def _described(part: Recordings) -> dict[str, Any]:
    return {
        "samples": len(part),
        "streams": {
            name: {
                "size": stream.size,
                "frames": [int(it) for it in (stream.lengths.min(), stream.lengths.max())] if len(stream) else [0, 0],
                "absent": int((stream.lengths == 0).sum()),
            }
            for name, stream in part.streams.items()
        },
        "words": part.words is not None,
        "classes": list(part.classes),
        "labelled": part.labels is not None,
    }


def _words(summary: dict[str, Any]) -> str:
    lines = [f"{summary['file']}, from {summary['format']}:"]
    for name, part in summary["splits"].items():
        labels = ", ".join(part["classes"]) or ("targets" if part["labelled"] else "no labels")
        lines.append(f"  {name}: {part['samples']:,} samples, {labels}" + (", words" if part["words"] else ""))
        for stream, it in part["streams"].items():
            absent = f", absent in {it['absent']:,}" if it["absent"] else ""
            frames = " to ".join(f"{number:,}" for number in sorted(set(it["frames"])))
            frames += " frame" if it["frames"] == [1, 1] else " frames"
            lines.append(f"    {stream}: {frames} of {it['size']} values{absent}")
    return "\n".join(lines)
