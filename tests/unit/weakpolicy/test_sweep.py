from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from modicum.errors import ConfigError
from modicum.weakpolicy import Run, sweep
from modicum.weakpolicy.functional import absorbing_value, difference_loss, peer_reward, td_target
from modicum.weakpolicy.sweep import Learner, Networks, _Ensemble, _layers, _uniforms, advance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_batched_cartpole_is_that_of_gymnasium(dtype: torch.dtype, tolerance: float) -> None:
    # PEERPL-P11: 100,000 random transitions
    count = 100_000
    generator = np.random.default_rng(4)
    states = generator.uniform(-1, 1, (4, count)) * np.array([[2.4], [2.0], [0.21], [2.0]])
    actions = generator.integers(0, 2, count)
    env = gymnasium.make_vec("CartPole-v1", num_envs=count).unwrapped
    env.reset(seed=0)
    env.state = states.copy()  # pyright: ignore[reportAttributeAccessIssue]
    _, _, terminated, _, _ = env.step(actions)
    moved, ended = advance(torch.from_numpy(states.T).to(dtype), torch.from_numpy(actions))
    expected = torch.from_numpy(env.state.T)  # pyright: ignore[reportAttributeAccessIssue]
    torch.testing.assert_close(moved.double(), expected, rtol=tolerance, atol=tolerance)
    if dtype == torch.float64:
        assert np.array_equal(ended.numpy(), terminated)
    else:  # within the rounding of the threshold either answer is right
        assert (ended.numpy() != terminated).mean() < 1e-4


def test_a_single_gymnasium_cart_goes_the_same_way() -> None:
    # PEERPL-P11
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=3)
    state = torch.tensor(np.asarray(env.state))[None]  # pyright: ignore[reportAttributeAccessIssue]
    ended, steps = False, 0
    while not ended:
        _, _, ended, _, _ = env.step(steps % 3 % 2)
        state, over = advance(state, torch.tensor([steps % 3 % 2]))
        assert state[0].tolist() == pytest.approx(list(env.state), abs=1e-12)  # pyright: ignore[reportAttributeAccessIssue]
        assert bool(over) == ended
        steps += 1


def as_module(theta: torch.Tensor) -> nn.Sequential:
    modules: list[nn.Module] = []
    for weight, bias in _layers(theta[None]):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            linear.weight.copy_(weight[0].T)
            linear.bias.copy_(bias[0, 0])
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def test_each_network_has_its_own_gradient_adam_and_slow_copy() -> None:
    # The second network takes two steps, as torch does them with autograd.
    networks = Networks([1, 2])
    modules = [as_module(theta) for theta in networks.theta]
    slow = [as_module(theta) for theta in networks.theta]
    optimizers = [torch.optim.Adam(module.parameters(), 1e-3, eps=1e-7) for module in modules]
    generator = torch.Generator().manual_seed(5)
    for rows in (slice(0, 2), slice(1, 2), slice(0, 2)):
        inputs = torch.randn(2, 32, 4, generator=generator)
        target = torch.randn(2, 32, 2, generator=generator)
        outputs = networks.values(networks.theta[rows], inputs[rows])
        networks.update(rows, outputs, (outputs[-1] - target[rows]) / 32)
        for index in range(*rows.indices(2)):
            optimizers[index].zero_grad()
            (0.5 * (modules[index](inputs[index]) - target[index]).square().sum(1).mean()).backward()
            optimizers[index].step()
            with torch.no_grad():
                for late, early in zip(slow[index].parameters(), modules[index].parameters(), strict=True):
                    late.copy_(0.99 * late + 0.01 * early)
    probe = torch.randn(2, 7, 4, generator=generator)
    for theta, each in ((networks.theta, modules), (networks.slow, slow)):
        expected = torch.stack([module(rows) for module, rows in zip(each, probe, strict=True)])
        torch.testing.assert_close(networks.values(theta, probe)[-1], expected, rtol=1e-5, atol=1e-6)


ARMS: tuple[Learner, ...] = ("noisy", "true", "surrogate", "target", "difference", "two_steps")


def test_a_run_is_the_same_alone_and_among_others() -> None:
    runs = [Run(learner=arm, seed=seed, noise=0.3) for seed in (0, 1) for arm in ARMS]
    together = sweep(runs, steps=30)
    for index in (0, 5, 9):
        alone = sweep([runs[index]], steps=30)
        assert together.returns[index] == alone.returns[0]
        torch.testing.assert_close(together.greedy[index], alone.greedy[0])
    assert all(sum(returns) == 30 for returns in together.returns)  # each step is worth 1


def test_runs_of_a_seed_share_what_they_should() -> None:
    done = sweep([Run(learner=arm, seed=3) for arm in ("noisy", "true", "surrogate")], steps=30)
    assert done.returns[0] == done.returns[1] == done.returns[2]  # without noise they are one
    peers = sweep([Run(learner=arm, seed=3, xi=0.0) for arm in ("noisy", "target", "difference")], steps=30)
    assert peers.returns[0] == peers.returns[1] == peers.returns[2]
    assert sweep([Run(updates=2), Run()], steps=30).returns[0] != done.returns[0]


def test_each_learner_follows_the_gradient_of_its_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    # PEERPL-P4, for what the ensemble computes by hand
    runs = [Run(learner=arm, seed=2, noise=0.3, xi=0.4) for arm in ARMS]
    runs.insert(4, Run(learner="target", seed=2, noise=0.3, xi=0.4, terminal="zero"))
    ensemble = _Ensemble(runs, 60, "cartpole")
    ensemble.train(200)
    slopes: list[tuple[slice, torch.Tensor]] = []
    monkeypatch.setattr(ensemble.networks, "update", lambda rows, _, slope: slopes.append((rows, slope)))
    drawn = next(_uniforms([2] * len(runs)))
    mean = ensemble.got[:, :50].mean(dim=1, keepdim=True)
    ensemble._learn(50, mean, drawn)
    place = (drawn["replay"][0, :32] * 50).long()
    order = drawn["peers"][0].argsort()
    for row, run in enumerate(runs):
        theta, slow = ensemble.networks.theta[row : row + 1], ensemble.networks.slow[row : row + 1]
        did = ensemble.did[row, place][:, None]
        values = ensemble.networks.values(theta, ensemble.seen[row : row + 1, place])[-1][0].requires_grad_()
        following = ensemble.networks.values(slow, ensemble.then[row : row + 1, place])[-1][0].amax(1)
        got, over, chosen = ensemble.got[row, place], ensemble.over[row, place], values.gather(1, did)[:, 0]
        end, xi = 0.0, run.xi if run.learner == "difference" else 0.0
        if run.learner == "target":
            average = mean[row].item()
            got = peer_reward(got, average, 0.4)
            end = absorbing_value(-0.4 * average, 0.99) if run.terminal == "absorbing" else 0.0
        own, peer = (td_target(reward, following, over, 0.99, end) for reward in (got, got[order]))
        difference_loss(chosen, own, peer, xi).backward()
        torch.testing.assert_close(slopes[0][1][row], values.grad)
        if run.learner == "two_steps":
            values.grad = None
            chosen = values.gather(1, did)[:, 0]
            (-0.4 * difference_loss(chosen, peer, own, 0.0)).backward()
            torch.testing.assert_close(slopes[1][1][0], values.grad)
    assert [rows for rows, _ in slopes] == [slice(0, 7), slice(6, 7)]


def test_a_reward_that_depends_on_the_state() -> None:
    done = sweep([Run(noise=0.2), Run(learner="surrogate", noise=0.2)], steps=80, task="centre")
    assert all(0 < sum(returns) <= 80 for returns in done.returns)


def test_what_cannot_be_swept_is_refused() -> None:
    with pytest.raises(ConfigError, match="xi must be below 1 in the loss-difference form"):
        Run(learner="two_steps", xi=1.0)
    with pytest.raises(ConfigError, match=r"noise from 0 to below 0\.5"):
        Run(noise=0.5)
    with pytest.raises(ConfigError, match="1 for peer losses"):
        Run(learner="difference", updates=2)
    with pytest.raises(ConfigError, match="A sweep has at least one run"):
        sweep([])
