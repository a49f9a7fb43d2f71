"""The equations against closed forms, and against values that the released code gives."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from modicum.textdiffusion import functional


def straight(times: int, positions: int, low: float = -4.0, high: float = 3.0) -> Tensor:
    """Make a table in which lambda falls with time, along another curve at each position."""
    share = torch.linspace(1, 0, times, dtype=torch.float64)[:, None]
    bent = share ** torch.linspace(0.7, 1.5, positions, dtype=torch.float64)
    return torch.sigmoid(2 * (low + (high - low) * bent))


def test_the_initial_schedule_is_that_of_the_released_code() -> None:
    abar = functional.sqrt_alphas_cumprod(2000)  # SD-1
    expected = [0.985358689, 0.976599750, 0.969696970, 0.295780315, 2.02040408e-4, 2.02040408e-7]
    assert abar[[0, 1, 2, 999, 1998, 1999]].tolist() == pytest.approx(expected, abs=1e-9)
    assert math.sqrt(1 - abar[0]) == pytest.approx(0.1210012832, abs=1e-10)


def test_an_oracle_keeps_the_noise_that_the_schedule_says() -> None:
    abar = functional.sqrt_alphas_cumprod(2000)
    released = functional.released_variance(abar[:, None].expand(-1, 64))
    shares: dict[bool, dict[int, float]] = {False: {}, True: {}}
    for official, ratios in shares.items():  # SD-5
        left = 1 - abar[-1]
        for t in range(1999, 0, -1):
            _, noisy, variance = functional.posterior(abar[t], abar[t - 1])
            left = noisy**2 * left + (released[t] if official else variance)
            ratios[t] = float(left / (1 - abar[t - 1]))
    assert list(shares[False].values()) == pytest.approx([1.0] * 1999, abs=1e-9)
    expected = {1999: 0.00323, 1900: 0.115, 1500: 0.619, 1000: 1.405, 500: 2.523, 100: 3.811, 10: 2.684, 1: 1.441}
    assert {t: shares[True][t] for t in expected} == pytest.approx(expected, rel=4e-3)


def test_the_released_variance_has_the_published_ratios() -> None:
    table = functional.sqrt_alphas_cumprod(2000)[:, None].expand(-1, 64)
    right = functional.posterior(table[1:], table[:-1])[2][:, 0]
    used = functional.released_variance(table)
    # SD-11
    expected = {1: 1.0, 10: 1.263, 64: 1.820, 100: 1.974, 500: 1.994, 1000: 1.572, 1500: 1.080, 1900: 0.475}
    expected |= {1990: 0.148, 1998: 0.063, 1999: 0.047}
    assert {t: math.sqrt(used[t] / right[t - 1]) for t in expected} == pytest.approx(expected, abs=1e-3)


def test_with_an_oracle_one_step_without_noise_or_many_give_the_clean_sequence() -> None:
    table = straight(100, 6)
    clean, noise = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for steps in (1, 2, 7, 100):  # SD-5
        times = torch.linspace(99, 0, steps).long().tolist()
        sample = functional.add_noise(clean, noise, table[times[0], :, None])
        for t, following in zip(times, [*times[1:], None], strict=True):
            levels = torch.ones(6, 1) if following is None else table[following, :, None]
            sample = functional.ddim_step(sample, clean, table[t, :, None], levels)
        assert torch.allclose(sample, clean)


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpmpp_2m", 2)])
def test_the_order_of_convergence_on_gaussian_data(sampler: str, order: int) -> None:
    mean, std, positions = 0.7, 0.5, 5
    table = straight(1281, positions)  # SD-6: each position has its own steps
    drawn = torch.randn(1, positions, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    at = lambda t: table[t, :, None]
    exact = lambda t: at(t).sqrt() * mean + (at(t) * std**2 + 1 - at(t)).sqrt() * drawn
    errors: list[float] = []
    for steps in (80, 160, 320):
        times = torch.linspace(1280, 0, steps + 1).round().long().tolist()
        sample, previous = exact(1280), None
        for t, following in pairwise(times):
            abar = at(t)
            prediction = mean + std**2 * abar.sqrt() * (sample - abar.sqrt() * mean) / (abar * std**2 + 1 - abar)
            if sampler == "ddim":
                sample = functional.ddim_step(sample, prediction, abar, at(following))
            else:
                sample = functional.dpmpp_2m_step(sample, prediction, abar, at(following), previous)
            previous = prediction, abar
        errors.append(float((sample - exact(0)).abs().max()))
    slopes = [math.log2(more / less) for more, less in pairwise(errors)]
    assert slopes == pytest.approx([order] * 2, abs=0.2)


def test_ancestral_sampling_of_gaussian_data_reaches_its_mean_and_variance() -> None:
    mean, std = 0.7, 0.5
    full = functional.sqrt_alphas_cumprod(2000)
    misses: list[float] = []
    for steps in (20, 200, 2000):  # SD-6; each step is affine, so that mean and variance are followed exactly
        abar = full[torch.arange(steps, 0, -1) * (2000 // steps) - 1]
        now, variance = torch.zeros(()), torch.ones(())
        for level, following in zip(abar, [*abar[1:], torch.ones(())], strict=True):
            slope = std**2 * level.sqrt() / (level * std**2 + 1 - level)
            clean, noisy, added = functional.posterior(level, following)
            gain = clean * slope + noisy
            now = gain * now + clean * (mean - slope * level.sqrt() * mean)
            variance = gain**2 * variance + added
        misses.append(max(abs(float(now) - mean), abs(float(variance) - std**2)))
    assert misses[0] > misses[1] > misses[2]
    assert misses[2] < 0.03


def test_the_last_step_of_the_multistep_solver_is_the_prediction() -> None:
    sample, prediction, before = torch.randn(3, 2, 4, 3, generator=torch.Generator().manual_seed(2))
    table = straight(3, 4).float()
    levels = [table[t, :, None] for t in (2, 1)]
    found = functional.dpmpp_2m_step(sample, prediction, levels[1], torch.ones(4, 1), (before, levels[0]))
    assert torch.equal(found, prediction)
    flat = functional.dpmpp_2m_step(sample, prediction, levels[0], levels[1], (before, levels[0]))
    assert torch.equal(flat, functional.ddim_step(sample, prediction, levels[0], levels[1]))


def test_times_are_embedded_as_cosines_and_sines() -> None:
    found = functional.timestep_embedding(torch.tensor([0.0, 2.0]), 4)
    assert found[0].tolist() == [1, 1, 0, 0]
    assert found[1].tolist() == pytest.approx([math.cos(2), math.cos(0.02), math.sin(2), math.sin(0.02)])


def test_the_target_of_the_last_time_is_the_embedding() -> None:
    prediction, noisy, embedded = torch.zeros(2, 3, 4), torch.full((2, 3, 4), 2.0), torch.full((2, 3, 4), 3.0)
    loss = functional.denoising_loss(prediction, noisy, embedded, torch.tensor([0, 5]))
    assert loss.tolist() == [[9] * 3, [4] * 3]
    assert functional.prior_loss(noisy, torch.tensor([0.0, 0.25, 0.5])) == pytest.approx(1.0)


def test_losses_are_made_to_rise_as_a_loop_would() -> None:
    losses = torch.rand(30, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = losses.clone()
    for k in range(1, 30):
        expected[k] = torch.maximum(expected[k], expected[k - 1] + 1e-5)
    assert torch.allclose(functional.rising(losses), expected, atol=1e-14)


def test_n_grams_are_counted_and_clipped() -> None:
    tokens = np.array([[[1, 2, 1, 2, 3], [1, 2, 3, -1, -1], [9, -1, -1, -1, -1]]])
    matches, lengths = functional.ngram_matches(tokens)
    assert lengths.tolist() == [[5, 3, 1]]
    assert matches[0, 0, 1].tolist() == [3, 2, 1, 0]
    assert matches[0, 0, 0].tolist() == [5, 4, 3, 2]
    assert matches[0, 2].sum(axis=0).tolist() == [1, 0, 0, 0]
    assert (matches == matches.transpose(0, 2, 1, 3)).all()
