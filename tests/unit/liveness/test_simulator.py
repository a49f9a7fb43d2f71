"""Simulated attacks: the physics of their patterns, and that nothing but these tells them apart."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, laplace

from modicum.errors import ConfigError
from modicum.liveness.metrics import pad_metrics
from modicum.liveness.simulator import (
    ANGLES,
    Recapture,
    contact_sheet,
    halftone,
    null_attack,
    replay,
    screen,
    simulate,
)

STILL = Recapture(pitch=1.31, angle=0, phase=(0.1, 0.05), blur=0, qualities=(100, 100))


def grey(level: int, height: int = 64, width: int = 512) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def drawing(seed: int, side: int = 48) -> np.ndarray:
    """Blobs with some detail, in colours of their own."""
    draws = np.random.default_rng(seed)
    field = gaussian_filter(draws.normal(size=(side, side, 3)), (2, 2, 0))
    field += 0.15 * gaussian_filter(draws.normal(size=(side, side, 3)), (0.5, 0.5, 0))
    return np.clip(128 + 250 * field + draws.normal(0, 20, 3), 0, 255).astype(np.uint8)


def light(image: np.ndarray) -> np.ndarray:
    level = image / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


# FGHV-C9: moiré comes at |1/p - round(1/p)|, within one bin of the FFT.
@pytest.mark.parametrize("pitch", [1.07, 1.31, 0.93, 2.4, 1.7])
def test_moire_is_where_sampling_puts_it(pitch: float) -> None:
    shown = replay(grey(128), recapture=replace(STILL, pitch=pitch))
    for colour in range(3):
        row = light(shown)[..., colour].mean(axis=0)
        peak = np.abs(np.fft.rfft(row - row.mean())).argmax() / 512
        assert abs(peak - abs(1 / pitch - round(1 / pitch))) <= 1 / 512


def test_a_lens_takes_the_moire_away_and_no_light() -> None:
    sharp, blurred = (light(replay(grey(128), recapture=replace(STILL, blur=blur))) for blur in (0, 0.6))
    assert blurred.std(axis=1).mean() < 0.5 * sharp.std(axis=1).mean()
    # The mean in linear light stays, but for the display's black of .003.
    for shown in (sharp, blurred):
        np.testing.assert_allclose(shown.mean(axis=(0, 1)), light(grey(128)).mean() * 0.997 + 0.003, rtol=0.01)


# FGHV-C9: coverage is the tone, within 1 %, and the screen has its frequency and its angle.
@pytest.mark.parametrize("angle", ANGLES)
def test_the_dots_of_a_screen_cover_the_tone(angle: float) -> None:
    v, u = np.mgrid[:512, :512] / 8 / 1.71
    for tone in (0.05, 0.3, 0.5, 0.8, 0.95):
        assert screen(np.full(u.shape, tone), u, v, angle).mean() == pytest.approx(tone, abs=0.01)
    dots = screen(np.full(u.shape, 0.3), u * 1.71 / 4, v * 1.71 / 4, angle)  # 4 pixels a period
    power = np.abs(np.fft.fft2(dots - dots.mean()))
    down, across = np.unravel_index(power.argmax(), power.shape)
    frequency = np.array([np.fft.fftfreq(512, 1 / 8)[at] for at in (across, down)])
    assert np.hypot(*frequency) == pytest.approx(1 / 4, abs=1 / 64)
    turned = np.rad2deg(np.arctan2(frequency[1], frequency[0])) - angle
    assert min(turned % 90, 90 - turned % 90) < 3
    assert not screen(np.zeros(u.shape), u, v, angle).any()
    assert screen(np.full(u.shape, 1.0001), u, v, angle).all()


def test_a_print_is_as_light_as_its_photo_between_ink_and_paper() -> None:
    for level in (40, 128, 220):
        shown = light(halftone(grey(level, 128, 128), recapture=replace(STILL, angle=2), period=1.7)).mean()
        wanted = (0.04 + (0.85 - 0.04) * light(grey(level)).mean()) / 0.85
        assert shown == pytest.approx(wanted, rel=0.03)
    red = light(
        halftone(np.full((128, 128, 3), (200, 40, 40), np.uint8), recapture=replace(STILL, angle=2), period=1.7)
    )
    assert red[..., 0].mean() > 3 * red[..., 1].mean()


def test_what_was_where_stays_there_and_a_seed_decides() -> None:
    image = drawing(0)
    for species in ("replay", "halftone", "null"):
        one, again, other = (simulate(image, species, seed) for seed in (1, 1, 2))
        assert one.shape == image.shape
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()
        soft, found = (gaussian_filter(each.astype(float), (4, 4, 0)).ravel() for each in (image, one))
        assert np.corrcoef(soft, found)[0, 1] > 0.97
    assert np.abs(null_attack(grey(90, 32, 32)).astype(int) - 90).max() <= 1
    assert simulate(image[:40, :9], "null", 0).shape == (40, 9, 3)


# FGHV-C9, section 8.1: null attacks against null attacks are a coin toss; blur tells them from untouched photos.
def test_a_null_attack_is_not_told_from_another_one() -> None:
    count = 40
    raw = [drawing(seed) for seed in range(2 * count)]
    null = [null_attack(image, seed) for seed, image in enumerate(raw)]
    cues = {
        "blur": lambda image: laplace(image.mean(axis=2)).std(),
        "colour": lambda image: image[..., 0].mean() - image[..., 2].mean(),
        "light": lambda image: image.mean(),
    }
    labels = np.repeat([1, 0], count)
    for cue in cues.values():
        scores = np.array([cue(image) for image in null])
        found = pad_metrics(scores, labels, subjects=[str(row) for row in range(2 * count)])
        low, high = found.intervals["auc"]
        assert low < 0.5 < high
    scores = [cues["blur"](image) for image in (*raw[:count], *null[count:])]
    assert pad_metrics(scores, labels).auc > 0.8
    stripes = [
        laplace(np.subtract(*np.moveaxis(replay(raw[at], at)[..., ::2].astype(float), 2, 0))) for at in range(20)
    ]
    plain = [laplace(np.subtract(*np.moveaxis(null[at][..., ::2].astype(float), 2, 0))) for at in range(20)]
    assert np.mean([one.std() > other.std() for one, other in zip(stripes, plain, strict=True)]) > 0.9


def test_a_contact_sheet_shows_all_of_them() -> None:
    for shape in ((48, 64), (64, 30), (5, 5)):
        sheet = contact_sheet(np.resize(drawing(1), (*shape, 3)), 3)
        assert sheet.shape[1] == 4 * 320
        assert sheet.dtype == np.uint8
    views = [sheet[:, 320 * at : 320 * (at + 1)] for at in range(4)]
    assert all((one != other).any() for one, other in itertools.combinations(views, 2))


def test_an_unknown_species_is_refused() -> None:
    with pytest.raises(ConfigError, match="no simulated attack 'mask'"):
        simulate(drawing(0), "mask", 0)
