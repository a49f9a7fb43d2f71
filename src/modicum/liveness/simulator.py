"""Simulated attacks: a photo shown on a display or printed in halftone and taken again, and one merely taken again.

In linear light, and without sine waves laid over an image: the patterns come about where each pixel of a sensor
integrates over the sub-pixels of a display or the dots of a print. What is simulated is simulated: these pictures say
what a detector makes of such patterns, and not how it does on attacks.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import ndtr

from modicum.core.extras import require
from modicum.core.files import make_folder
from modicum.core.progress import Progress
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError
from modicum.liveness.faces import Image, read_image

Array = npt.NDArray[Any]
Medium = Callable[[Array, Array, Array], Array]  # cells [h, w, c], and u and v in cells, to light [h, w, 3]

ANGLES = (15.0, 75.0, 0.0, 45.0)  # degrees, of the screens of cyan, magenta, yellow and black
_FINE = 4  # points where light is computed, along each side of a sensor's pixel
_REACH = 2  # pixels of the sensor, as far as the lens blurs
_ROWS = 64  # of those points that are computed at once
_LIT = 0.9  # of a display's pixel, from top to bottom; the rest is black
_STRIPES = np.array([0, 1 / 3, 2 / 3], np.float32)  # where red, green and blue begin
_BLACK = 0.003  # light of a display's black
_PAPER, _INK = 0.85, 0.04  # light from white paper and from black ink


@dataclass(frozen=True, kw_only=True, slots=True)
class Recapture:
    """How a photo is shown and taken again."""

    pitch: float  # side of a pixel of the display or print in pixels of the sensor
    angle: float  # between both, in degrees
    phase: tuple[float, float]  # where the first pixel begins, in pixels of the display
    blur: float  # std of the lens in pixels of the sensor
    qualities: tuple[int, int]  # of the JPEG files before and after

    @classmethod
    def draw(cls, seed: int) -> Recapture:
        """Draw one: the same for every kind of attack."""
        draws = numpy_generator(seed, "recapture")
        across, down = draws.random(2)
        return cls(
            pitch=float(draws.uniform(1.1, 2.6)),
            angle=float(draws.uniform(-3, 3)),
            phase=(float(across), float(down)),
            blur=float(draws.uniform(0.3, 0.6)),
            qualities=(int(draws.integers(85, 96)), int(draws.integers(70, 96))),
        )


def replay(image: Image, seed: int = 0, recapture: Recapture | None = None) -> Image:
    """Show a photo on a display with red, green and blue stripes and take it again."""
    # A pattern of pitch p pixels of the sensor comes back at the frequency abs(1/p - round(1/p)): moiré.
    geometry = recapture or Recapture.draw(seed)
    half = 1 / (2 * _FINE * geometry.pitch)  # of a fine point, in pixels of the display

    def until(u: Array, first: Array | float, part: float) -> Array:
        """Give how much of a part of each pixel lies before a point."""
        return np.floor(u) * part + (u % 1 - first).clip(0, part)

    def stripes(cells: Array, u: Array, v: Array) -> Array:
        # Integrated over each fine point, so that no pattern comes from these. That they are turned is neglected.
        lit = until(u[..., None] + half, _STRIPES, 1 / 3) - until(u[..., None] - half, _STRIPES, 1 / 3)
        lit *= (until(v + half, 0.0, _LIT) - until(v - half, 0.0, _LIT))[..., None]
        return _BLACK + (1 - _BLACK) * (3 / _LIT / (2 * half) ** 2) * lit * _cells_at(cells, u, v)

    return _taken_again(image, geometry, stripes)


def halftone(image: Image, seed: int = 0, recapture: Recapture | None = None, *, period: float | None = None) -> Image:
    """Print a photo in halftone (four inks, amplitude-modulated screens of a period in pixels) and take it again."""
    geometry = recapture or Recapture.draw(seed)
    period = period or float(numpy_generator(seed, "period").uniform(1, 3))
    ratio = geometry.pitch / period  # periods of a screen in a pixel of the print

    def dots(cells: Array, u: Array, v: Array) -> Array:
        tones = _cells_at(cells, u, v)
        inks = [screen(tones[..., ink], u * ratio, v * ratio, angle) for ink, angle in enumerate(ANGLES)]
        free = np.stack([~inks[0], ~inks[1], ~inks[2]], axis=-1) & ~inks[3][..., None]
        return (_INK + (_PAPER - _INK) * free) / _PAPER  # exposed for the paper

    return _taken_again(image, geometry, dots, cells_of=_separated)


def null_attack(image: Image, seed: int = 0, recapture: Recapture | None = None) -> Image:
    """Take a photo again as the attacks do, from a display without stripes: the same resamplings and JPEG files."""
    return _taken_again(image, recapture or Recapture.draw(seed), _cells_at)


SIMULATED: Mapping[str, Callable[[Image, int], Image]] = {"replay": replay, "halftone": halftone, "null": null_attack}


def simulate(image: Image, species: str, seed: int) -> Image:
    """Make a simulated attack of a photo, or take it again without one.

    What tells a photo from its null attack, such as blur, tells it from the attacks too, and is a shortcut: compare
    attacks with null attacks.

    Args:
        image: uint8 of shape [height, width, 3], RGB.
        species: "replay" (a display's stripes and their moiré), "halftone" (a print's dots) or "null" (neither).
        seed: of geometry, lens and JPEG quality: one seed, one geometry for every species.

    Returns:
        An image of the same size; what was where stays there.

    Raises:
        ConfigError: if there is no such species.
    """
    if species not in SIMULATED:
        raise ConfigError(f"There is no simulated attack {species!r}.", hint=f"Use some of: {', '.join(SIMULATED)}.")
    return SIMULATED[species](image, seed)


def screen(tone: Array, u: Array, v: Array, angle: float) -> npt.NDArray[np.bool_]:
    """Tell where the ink of a screen lies, u and v in its periods: in diamonds that cover the share ``tone``."""
    cosine, sine = _turn(angle)
    across, down = u * cosine + v * sine, v * cosine - u * sine
    reach = np.abs(across % 1 - 0.5) + np.abs(down % 1 - 0.5)  # of the diamond around a dot's centre
    threshold = np.where(reach < 0.5, 2 * reach**2, 1 - 2 * (1 - reach) ** 2)  # the area of that diamond
    return tone > threshold


def contact_sheet(image: Image, seed: int = 0) -> Image:
    """Lay a photo, its null attack and its attacks side by side, and below each the middle enlarged five times."""
    pillow: Any = require("PIL.Image", extra="liveness", purpose="Drawing a contact sheet")
    draw: Any = require("PIL.ImageDraw", extra="liveness", purpose="Drawing a contact sheet")
    kinds = ("null", "replay", "halftone")
    views = {"as given": image, **{f"simulated: {kind}": simulate(image, kind, seed) for kind in kinds}}
    tile, label = 320, 24
    rows, columns = image.shape[:2]
    size = tuple(max(1, round(side * tile / max(rows, columns))) for side in (columns, rows))
    half = max(1, min(tile // 5, rows, columns) // 2)
    middle = tuple(slice(side // 2 - half, side // 2 + half) for side in (rows, columns))
    sheet = pillow.new("RGB", (tile * len(views), label + size[1] + tile), "white")
    for at, (name, view) in enumerate(views.items()):
        enlarged = pillow.fromarray(view[middle]).resize((tile, tile), pillow.Resampling.NEAREST)
        sheet.paste(pillow.fromarray(view).resize(size), (tile * at, label))
        sheet.paste(enlarged, (tile * at, label + size[1]))
        draw.Draw(sheet).text((tile * at + 6, 6), name, fill="black")
    return np.asarray(sheet)


def _taken_again(
    image: Image, geometry: Recapture, medium: Medium, cells_of: Callable[[Array], Array] | None = None
) -> Image:
    """Save as JPEG, show on the medium, gather light by a lens and pixels of a sensor, and save as JPEG again."""
    height, width = image.shape[:2]
    linear = _linear(_saved(image, geometry.qualities[0]))
    (cosine, sine), pitch, (begin, top_begin) = _turn(geometry.angle), geometry.pitch, geometry.phase

    def position(x: Array, y: Array) -> tuple[Array, Array]:
        return (x * cosine + y * sine) / pitch + begin, (y * cosine - x * sine) / pitch + top_begin

    far = np.array([-_REACH, width + _REACH]), np.array([-_REACH, height + _REACH])
    corners = position(*(each.ravel() for each in np.meshgrid(*far)))
    (left, right), (top, bottom) = ((int(np.floor(c.min())) - 1, int(np.ceil(c.max())) + 2) for c in corners)
    # What each pixel of the medium shows: the photo at its centre, blurred to what such pixels can show.
    v, u = np.mgrid[top:bottom, left:right] + 0.5
    u, v = (u - begin) * pitch, (v - top_begin) * pitch
    places = (v * cosine + u * sine - 0.5, u * cosine - v * sine - 0.5)
    blurred = gaussian_filter(linear, (0.3 * pitch, 0.3 * pitch, 0), mode="mirror")
    cells = np.stack([map_coordinates(blurred[..., c], places, order=1, mode="mirror") for c in range(3)], axis=-1)
    cells = (cells if cells_of is None else cells_of(cells)).astype(np.float32)
    x, y = (
        ((np.arange(_FINE * (side + 2 * _REACH)) + 0.5) / _FINE - _REACH).astype(np.float32) for side in (width, height)
    )
    fine = np.empty((len(y), len(x), 3), np.float32)
    for start in range(0, len(y), _ROWS):  # so many that they stay in the cache of a processor
        u, v = position(x, y[start : start + _ROWS, None])
        fine[start : start + _ROWS] = medium(cells, u - left, v - top)
    weights = _aperture(geometry.blur)
    light = _gathered(_gathered(fine, weights, height).swapaxes(0, 1), weights, width).swapaxes(0, 1)
    return _saved(_encoded(light), geometry.qualities[1])


def _gathered(fine: Array, weights: list[float], count: int) -> Array:
    """Weight fine points along the first axis to one value a pixel of the sensor."""
    light = np.zeros((count, *fine.shape[1:]), np.float32)
    for tap, weight in enumerate(weights):
        light += weight * fine[tap::_FINE][:count]
    return light


def _aperture(blur: float) -> list[float]:
    """Give what a pixel gathers from each point of the fine grid around it: its sensitive part, blurred by a lens."""
    taps = _FINE * (2 * _REACH + 1)
    x = ((np.arange(taps * 32) + 0.5) / (_FINE * 32) - _REACH - 0.5) / max(blur, 1e-6)
    half = 0.5 / max(blur, 1e-6)  # all of a sensor's pixel gathers light: it has a lens of its own
    weights = (ndtr(x + half) - ndtr(x - half)).reshape(taps, 32).sum(axis=1)
    return (weights / weights.sum()).tolist()


def _turn(angle: float) -> tuple[float, float]:
    # Of Python, so that float32 stays float32.
    return math.cos(math.radians(angle)), math.sin(math.radians(angle))


def _cells_at(cells: Array, u: Array, v: Array) -> Array:
    return cells[v.astype(np.intp), u.astype(np.intp)]


def _separated(light: Array) -> Array:
    """Give the coverage of cyan, magenta, yellow and black; black takes what the three have in common."""
    # As if inks were ideal: with screens at other angles the dots meet by chance, and light = (1 - ink) (1 - black).
    inks = 1 - light.clip(0, 1)
    black = inks.min(axis=-1, keepdims=True)
    return np.concatenate([(inks - black) / np.maximum(1 - black, 1e-9), black], axis=-1)


def _linear(image: Image) -> Array:
    """Undo the transfer curve of sRGB (IEC 61966-2-1)."""
    level = image / 255.0
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def _encoded(light: Array) -> Image:
    light = light.clip(0, 1)
    level = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * level).astype(np.uint8)


def _saved(image: Image, quality: int) -> Image:
    pillow: Any = require("PIL.Image", extra="liveness", purpose="Simulating an attack")
    file = io.BytesIO()
    pillow.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=quality, subsampling=0)
    return np.array(pillow.open(file))


def write_simulated(
    files: Sequence[tuple[Path, Path]], folder: Path, seed: int, progress: Progress
) -> list[dict[str, str]]:
    """Write null attacks as genuine photos, attacks and a contact sheet, and give the rows of a manifest."""
    pillow: Any = require("PIL.Image", extra="liveness", purpose="Simulating attacks")
    rows: list[dict[str, str]] = []
    for done, (path, root) in enumerate(files):
        progress(done, len(files), path.name)
        image = read_image(path)
        inside = path.relative_to(root).parts if path != root else (path.name,)
        if not done:
            pillow.fromarray(contact_sheet(image, seed)).save(folder / "contact-sheet.png")
        for species in SIMULATED:
            kind = Path("real") if species == "null" else Path("fake", species)
            target = kind / f"{done:05}-{path.stem}.jpg"
            make_folder(folder / kind)
            # The same quality for all, so that this file is no trace either.
            pillow.fromarray(simulate(image, species, seed + done)).save(folder / target, quality=95, subsampling=0)
            label = "bona_fide" if species == "null" else "attack"
            rows.append(
                {"path": str(target), "label": label, "species": species, "subject": inside[0] if inside[1:] else ""}
            )
    return rows
