"""What can be refused of a command's arguments before torch is imported."""

from __future__ import annotations

from pathlib import Path

from modicum.errors import ConfigError, DataError, ModelError, UnsafeFileError

RESNET20, LITE0 = PUBLIC = "resnet20", "efficientnet-lite0"
FEWEST = 2  # samples

_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.th")


def check_network(name: str) -> None:
    """Refuse what is neither a public network nor a folder with config.json and model.safetensors."""
    if name in PUBLIC:
        return
    folder = Path(name)
    if not folder.is_dir():
        raise ConfigError(
            f"There is no folder {folder}.",
            hint=f"Name a folder that save_pretrained wrote, or {' or '.join(PUBLIC)}.",
        )
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder} has no config.json, so it is no model of transformers.",
            hint="Name a folder that save_pretrained wrote.",
        )
    from modicum.core.safeload import read_json

    try:
        read_json(folder / "config.json", hint="Name a folder that save_pretrained wrote.")
    except DataError as error:
        raise ModelError(
            f"{folder} cannot be read as an image classifier ({error.what.rstrip('.')}).", hint=error.hint
        ) from error
    if any((folder / name).is_file() for name in _WEIGHTS):
        return
    pickled = [path.name for pattern in _PICKLED for path in folder.glob(pattern)]
    if pickled:
        raise UnsafeFileError(
            f"{folder} has its weights in {min(pickled)} alone, a pickle, which may run code.",
            hint="Get them as model.safetensors: whoever trusts the file loads it and calls save_pretrained again.",
        )
    raise ConfigError(f"{folder} has no model.safetensors.", hint="Name a folder that save_pretrained wrote.")


def check_count(count: int | None) -> None:
    """Refuse too few samples."""
    if count is not None and count < FEWEST:
        raise ConfigError(f"Calibration needs {FEWEST} samples or more, got {count}.", hint="Use some hundred.")


def check_images(path: Path) -> None:
    """Refuse what is no array and no folder of pictures; what is in it is read later."""
    check_there(path)
    if path.is_dir():
        images_below(path)
    elif path.suffix not in {".npy", ".npz"}:
        raise ConfigError(
            f"{path} is no .npy or .npz file, and no folder.",
            hint="Give normalised images in one, or a folder of images.",
        )


def check_there(path: Path) -> None:
    """Refuse a path without a file or a folder."""
    if not path.exists():
        raise ConfigError(
            f"There is nothing at {path}.", hint="Name an .npy or .npz file of normalised images, or a folder."
        )


def check_stored(path: Path) -> None:
    """Refuse a quantized network that is not there."""
    if not path.is_file():
        raise DataError(f"{path} does not exist.", hint="Name a file that modicum quantize run or save() wrote.")


def images_below(folder: Path) -> list[Path]:
    """Give the pictures below a folder, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not files:
        raise DataError(
            f"{folder} has no images ({', '.join(sorted(_SUFFIXES))}).", hint="Name a folder with some hundred."
        )
    return files
