"""Where `save` of a predictor writes, and which predictor a folder holds."""

from __future__ import annotations

from pathlib import Path

from modicum.errors import ConfigError

GP_FILE = "gp.npz"
DMPNN_FILE = "dmpnn.pt"


def find_model(folder: Path) -> str:
    """Give the file of the one model that a folder holds."""
    found = [name for name in (GP_FILE, DMPNN_FILE) if (folder / name).is_file()]
    if len(found) > 1:
        raise ConfigError(f"{folder} holds two models, {' and '.join(found)}.", hint="Move one of them elsewhere.")
    if not found:
        raise ConfigError(f"There is no model in {folder}.", hint="Name a folder that modicum molecules train wrote.")
    return found[0]
