"""The user's own table, as the comparison takes it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from modicum.core.safeload import load_npz
from modicum.core.small import Split, in_quarters
from modicum.core.tables import read_records
from modicum.errors import ConfigError, DataError


def own_data(path: Path, seed: int) -> Split:
    """Load the user's own data, split half, quarter, quarter."""
    if path.suffix not in {".csv", ".npz"}:
        raise ConfigError(f"{path} is neither a .csv nor a .npz file.", hint="See modicum compare nsgd --help.")
    inputs, names = _read_csv(path) if path.suffix == ".csv" else _read_npz(path)
    known, labels = np.unique(names, return_inverse=True)
    smallest = int(np.bincount(labels).min())
    if len(known) < 2 or smallest < 4:
        raise DataError(
            f"{path} has {len(known)} {'class' if len(known) == 1 else 'classes'}, the smallest with {smallest} rows: "
            f"{str(known[int(np.bincount(labels).argmin())])!r}.",
            hint="Give at least 2 classes with at least 4 rows each, so that each part of the split has some.",
        )
    return in_quarters(torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64), seed)


def _read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    columns, rows = read_records(path)
    numeric = [name for name in columns if name != "label"]
    if "label" not in columns or not numeric:
        raise DataError(
            f"{path} needs a column called label and numeric ones; its columns are {', '.join(columns)}.",
            hint="Give the file a header line and call the column of classes label.",
        )
    inputs = [[_number(row.cells[name], f"{path}, line {row.line}, column {name}") for name in numeric] for row in rows]
    names = [row.cells["label"].strip() for row in rows]
    if "" in names:
        raise DataError(
            f"{path}, line {rows[names.index('')].line} has no label.", hint="Give it one, or drop that line."
        )
    return np.array(inputs), np.array(names)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where} is {text!r}, not a finite number.", hint="Correct or drop that line.")
    return value


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    arrays = load_npz(path)
    if missing := {"x", "y"} - set(arrays):
        raise DataError(f"{path} has no array {min(missing)}; it has {', '.join(arrays)}.", hint="Save x and y.")
    if arrays["x"].dtype.kind not in "biuf":
        raise DataError(f"{path} has x of dtype {arrays['x'].dtype}, not numeric.", hint="Save x as floats.")
    inputs, labels = np.asarray(arrays["x"], dtype=float), arrays["y"]
    if inputs.ndim not in (2, 4) or labels.shape != inputs.shape[:1]:
        raise DataError(
            f"{path} has x of shape {inputs.shape} and y of shape {labels.shape}.",
            hint="Give x as (n, features) or (n, channels, height, width), and y as (n,).",
        )
    if not inputs.size:
        raise DataError(f"{path} has x of shape {inputs.shape}, which is empty.", hint="Give at least one row.")
    bad = np.flatnonzero(~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))
    if len(bad):
        raise DataError(f"{path}, row {bad[0]} of x has a number that is not finite.", hint="Correct or drop that row.")
    return inputs, labels
