"""The learned noise schedule: its published table, its fixed point, and what may move it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tests.unit.textdiffusion.ranks import PASSES, batch, build, draws, work
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from modicum.errors import ConfigError
from modicum.textdiffusion import TokenNoiseSchedule


def test_an_update_gives_the_published_table() -> None:
    schedule = TokenNoiseSchedule(num_steps=2000, length=64, bins=100)  # SD-2
    assert schedule.alphas_cumprod.shape == (2000, 64)
    before = schedule.alphas_cumprod.clone()
    t, s = torch.arange(2000), torch.arange(64)
    loss = (0.9 * (t[:, None].double() / 1999) ** (0.5 + s.double() / 64)).float()
    mask = (s < 40).expand(2000, -1)
    loss[:, 40:] = torch.nan  # what stands at padding may be anything
    for _ in range(50):
        schedule.record(t, loss, mask)
    assert torch.equal(schedule.alphas_cumprod, before)
    schedule.update()
    table = schedule.alphas_cumprod
    expected = {
        1: [0.98535868947, 0.98456056828, 0.98374370382, 0.72121285602, 0.47757895564, 0.23728876556, 4.3001309256e-4],
        10: [0.98535868947, 0.98407316120, 0.98275809423, 0.64910320385, 0.40874343859, 0.19593316311, 3.4591022148e-4],
        39: [0.98535868947, 0.97858585067, 0.97165923261, 0.46918693173, 0.27075191130, 0.12249022985, 2.0815465955e-4],
        63: [0.98535868947, 0.98096287695, 0.97638591451, 0.50461442081, 0.29543507711, 0.13490572152, 2.2646604781e-4],
    }
    for column, values in expected.items():
        found = table[[0, 1, 2, 500, 1000, 1500, 1998, 1999], column].tolist()
        assert found == pytest.approx([*values, 2.0204040808e-7], abs=2e-11)
    assert torch.equal(table[:, 0], before[:, 0])
    assert table.sum().item() == pytest.approx(47079.940733127856, abs=1e-8)
    assert (table[1:] < table[:-1]).all()
    assert (1 - table[1:] / table[:-1]).min().item() == pytest.approx(0.00051429413, abs=1e-10)
    assert (schedule.loss_sum.sum().item(), schedule.loss_count.sum().item()) == (pytest.approx(1600), 6400)


def recorded(schedule: TokenNoiseSchedule, powers: Tensor) -> Tensor:
    """Record a loss that depends on the noise alone, differently by position."""
    loss = (1 - schedule.alphas_cumprod) ** powers
    for _ in range(200):  # so that the prior counts for little
        schedule.record(torch.arange(len(loss)), loss, torch.ones_like(loss))
    return loss


def test_repeated_updates_make_the_loss_rise_evenly_and_then_stay() -> None:
    schedule, powers = TokenNoiseSchedule(length=4), torch.tensor([1.0, 0.5, 1.0, 2.0])  # SD-7
    last = schedule.alphas_cumprod
    for _ in range(4):
        recorded(schedule, powers)
        last = schedule.alphas_cumprod.clone()
        schedule.update()
    loss = recorded(schedule, powers)[:, 1:]
    time = torch.linspace(-1, 1, 2000, dtype=torch.float64)
    for column in loss.T:
        assert torch.corrcoef(torch.stack([time, column]))[0, 1] ** 2 > 0.999
    assert (schedule.alphas_cumprod - last).abs().max() < 0.01
    middle = schedule.alphas_cumprod[1000, 1:]
    assert (middle.diff().abs() > 0.05).all(), "positions with other losses have one schedule"


def test_micro_batches_of_a_step_give_the_table_of_one_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    t, loss = torch.randint(2000, (128,), generator=generator), torch.rand(128, 8, generator=generator)
    mask = torch.rand(128, 8, generator=generator) < 0.8
    once, parts = TokenNoiseSchedule(length=8), TokenNoiseSchedule(length=8)
    once.record(t, loss, mask)  # SD-8
    for rows in torch.arange(128).split(32):
        parts.record(t[rows], loss[rows], mask[rows])
    once.update()
    parts.update()
    assert torch.equal(once.alphas_cumprod, parts.alphas_cumprod)


def test_two_ranks_learn_the_schedule_of_one(tmp_path: Path) -> None:
    spawn(work, (str(tmp_path),), nprocs=2)  # SD-8
    tables = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(*tables)
    model = build()
    before = model.schedule.alphas_cumprod.clone()
    for number in range(PASSES):
        for rank in range(2):
            mine = {name: rows.chunk(2)[rank] for name, rows in batch().items()}
            model(**mine, generator=draws(rank, number))
    model.schedule.update()
    assert (model.schedule.alphas_cumprod - before).abs().max() > 0.01
    assert torch.allclose(tables[0], model.schedule.alphas_cumprod, rtol=0, atol=1e-9)


def test_a_schedule_stays_in_double_precision() -> None:
    schedule = TokenNoiseSchedule(length=3)
    table = schedule.alphas_cumprod.clone()
    assert torch.equal(schedule.to(torch.bfloat16).half().alphas_cumprod, table)
    assert schedule.to("meta").alphas_cumprod.is_meta


def test_times_are_intervals_of_one_length() -> None:
    schedule = TokenNoiseSchedule(length=2)
    assert schedule.set_timesteps(2000) == tuple(range(1999, -1, -1))
    assert schedule.set_timesteps(20) == tuple(range(1999, 0, -100))
    assert schedule.set_timesteps(1) == (1999,)
    for n in (3, 7, 1999):
        times = schedule.set_timesteps(n)
        assert len(set(times)) == n
        assert {round(2000 / n - 0.5), round(2000 / n + 0.5)} >= {one - two for one, two in pairwise(times)}


def test_a_step_is_the_equation_of_its_sampler() -> None:
    schedule = TokenNoiseSchedule(num_steps=100, length=3, bins=10)
    recorded(schedule, torch.tensor([1.0, 0.5, 2.0]))
    schedule.update()
    generator = torch.Generator().manual_seed(0)
    sample, prediction, noise, previous = torch.randn(4, 2, 3, 5, generator=generator)
    schedule.set_timesteps(100)
    abar, following = (schedule.alphas_cumprod[t][:, None].float() for t in (40, 39))
    variance = (1 - abar / following) * (1 - following) / (1 - abar)
    drawn = schedule.step(prediction, 40, sample, noise=noise) - schedule.step(
        prediction, 40, sample, noise=torch.zeros_like(noise)
    )
    assert torch.allclose(drawn, variance.sqrt() * noise, atol=1e-5)
    released = schedule.step(prediction, 40, sample, noise=noise, posterior_variance="released")
    assert not torch.allclose(released, schedule.step(prediction, 40, sample, noise=noise), atol=1e-3)
    first, second = (schedule.step(prediction, 40, sample, sampler=name) for name in ("ddim", "dpmpp_2m"))
    assert torch.allclose(first, second), "a first step of the multistep solver is one of DDIM"
    third = schedule.step(prediction, 40, sample, sampler="dpmpp_2m", previous=previous)
    assert not torch.allclose(third, first, atol=1e-3)
    for name in ("ddpm", "ddim", "dpmpp_2m"):
        assert torch.equal(schedule.step(prediction, 0, sample, sampler=name, previous=previous), prediction)


def test_noise_is_added_by_the_schedule_of_the_position() -> None:
    schedule = TokenNoiseSchedule(num_steps=100, length=3, bins=10)
    recorded(schedule, torch.tensor([1.0, 0.5, 2.0]))
    schedule.update()
    clean, noise = torch.ones(2, 3, 4), torch.full((2, 3, 4), 2.0)
    found = schedule.add_noise(clean, noise, torch.tensor([10, 90]))
    abar = schedule.alphas_cumprod[[10, 90]].float()[..., None]
    assert torch.allclose(found, (abar.sqrt() + 2 * (1 - abar).sqrt()).expand(-1, -1, 4))
    assert found[0, :, 0].unique().numel() == 3
    assert torch.equal(schedule.add_noise(clean[:, :2], noise[:, :2], torch.tensor([10, 90])), found[:, :2])


def test_what_a_schedule_refuses() -> None:
    for sizes in ({"num_steps": 30, "bins": 20}, {"length": 0}, {"bins": 1}):
        with pytest.raises(ConfigError, match="must divide num_steps"):
            TokenNoiseSchedule(**sizes)
    schedule = TokenNoiseSchedule(num_steps=100, length=3, bins=10)
    for n in (0, -1, 101):
        with pytest.raises(ConfigError, match=f"from 1 to 100 steps, got {n}"):
            schedule.set_timesteps(n)
    sample = torch.zeros(1, 3, 4)
    with pytest.raises(ConfigError, match="The time 5 is none of those"):
        schedule.step(sample, 5, sample)
    schedule.set_timesteps(10)
    with pytest.raises(ConfigError, match="draws noise, got none"):
        schedule.step(sample, 99, sample)
    with pytest.raises(ConfigError, match="defined for all 100 steps, got 10"):
        schedule.step(sample, 99, sample, noise=sample, posterior_variance="released")
    with pytest.raises(ConfigError, match="has 3 positions, got a sequence of 4"):
        schedule.add_noise(torch.zeros(1, 4, 2), torch.zeros(1, 4, 2), torch.tensor([1]))


def test_one_schedule_for_all_positions_is_learned_from_their_mean_loss() -> None:
    together, alone = TokenNoiseSchedule(100, 3, 10), TokenNoiseSchedule(100, 1, 10)
    t = torch.arange(100)
    loss = (t / 100)[:, None] * torch.tensor([0.2, 0.5, 0.8])
    together.record(t, loss, torch.ones_like(loss))
    alone.record(t.repeat(3), loss.T.reshape(-1, 1), torch.ones(300, 1))
    # The prior counts once a position.
    alone.loss_sum += 2 * torch.linspace(0, 0.5, 10, dtype=torch.float64)[:, None]
    alone.loss_count += 2
    together.update(shared=True)
    alone.update(shared=True)
    torch.testing.assert_close(together.alphas_cumprod, alone.alphas_cumprod.expand(-1, 3))
    assert not torch.equal(together.alphas_cumprod, TokenNoiseSchedule(100, 3, 10).alphas_cumprod)
