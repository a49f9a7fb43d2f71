from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from modicum.weakpolicy.functional import (
    absorbing_value,
    adjust_prior,
    clipped_log_softmax,
    confusion_matrix,
    difference_loss,
    difference_reward,
    gaussian_nll,
    is_class_independent,
    majority_confusion,
    matching_exponent,
    mean_entropy,
    peer_cross_entropy,
    peer_gaussian,
    peer_policy,
    peer_reward,
    sharpen,
    surrogate_levels,
    td_target,
)

KINDS = ("uniform", "anti_identity", "norm_all", "norm_one", "two_extremes")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20211206)


def batch(generator: torch.Generator, dtype: torch.dtype, count: int = 24, actions: int = 6) -> tuple[Tensor, Tensor]:
    logits = 3 * torch.randn(count, actions, generator=generator, dtype=dtype)
    return logits, torch.randint(actions, (count,), generator=generator)


def others(count: int, generator: torch.Generator) -> Tensor:
    """Draw a permutation without fixed points, in which each other element is equally likely."""
    order = torch.randperm(count, generator=generator)
    partner = torch.empty_like(order)
    partner[order] = order.roll(1)
    return partner


def double_loop(logits: Tensor, actions: Tensor, clip: float, *, distinct: bool) -> Tensor:
    scores = (logits.softmax(1) + clip).log()
    pairs = [
        -scores[i, actions[j]] for i in range(len(actions)) for j in range(len(actions)) if not (distinct and i == j)
    ]
    return torch.stack(pairs).mean()


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_exact_peer_term_is_the_double_loop(
    dtype: torch.dtype, tolerance: float, distinct: bool, generator: torch.Generator
) -> None:
    # PEERPL-P1
    logits, actions = batch(generator, dtype)
    exact = peer_cross_entropy(logits, actions, 1e-8, distinct=distinct)
    loop = double_loop(logits, actions, 1e-8, distinct=distinct)
    torch.testing.assert_close(exact, loop, rtol=tolerance, atol=tolerance)


def test_the_exact_peer_term_is_the_broadcast_of_the_released_cotraining(generator: torch.Generator) -> None:
    # PEERPL-P1: (N, 1, A) one-hot peers against (N, A) scores average over all N x N pairs.
    logits, actions = batch(generator, torch.float64)
    one_hot = torch.nn.functional.one_hot(actions, 6).double()[:, None, :]
    broadcast = -(one_hot * (logits.softmax(1) + 1e-8).log()).sum(-1).mean()
    torch.testing.assert_close(peer_cross_entropy(logits, actions, 1e-8), broadcast, rtol=1e-12, atol=1e-12)


def test_the_mean_of_permutations_is_the_exact_term(generator: torch.Generator) -> None:
    # PEERPL-P1
    logits, actions = batch(generator, torch.float64)
    scores = (logits.softmax(1) + 1e-8).log()
    drawn = torch.stack(
        [
            -scores.gather(1, actions[torch.randperm(len(actions), generator=generator)][:, None]).mean()
            for _ in range(3000)
        ]
    )
    error = drawn.std() / math.sqrt(len(drawn))
    assert (drawn.mean() - peer_cross_entropy(logits, actions, 1e-8)).abs() < 3 * error


def test_the_gaussian_peer_term_is_the_double_loop(generator: torch.Generator) -> None:
    # PEERPL-P1, for continuous actions
    mean, actions = torch.randn(2, 30, 3, generator=generator, dtype=torch.float64)
    std = torch.rand(30, 3, generator=generator, dtype=torch.float64) + 0.2
    pairs = [-torch.distributions.Normal(mean, std).log_prob(action).sum(1) for action in actions]
    torch.testing.assert_close(peer_gaussian(mean, std, actions), torch.stack(pairs).mean(), rtol=1e-12, atol=1e-12)
    own = -torch.distributions.Normal(mean, std).log_prob(actions).sum(1)
    torch.testing.assert_close(gaussian_nll((actions - mean).square(), std), own, rtol=1e-12, atol=1e-12)


def population_loss(logits: Tensor, clean: Tensor, confusion: Tensor, xi: float, clip: float = 0.0) -> Tensor:
    """Compute the peer loss in expectation over noisy labels, with equally likely states and soft clean labels."""
    noisy = clean @ confusion
    own = -(noisy * logits.log_softmax(1)).sum(1).mean()
    peer = -(noisy.mean(0) * clipped_log_softmax(logits, clip).mean(0)).sum()
    return own - xi * peer


@pytest.mark.parametrize(
    ("confusion", "slope"),
    [
        (torch.tensor([[0.9, 0.1], [0.3, 0.7]], dtype=torch.float64), 0.6),
        (0.63 * torch.eye(4, dtype=torch.float64) + 0.37 / 4, 0.63),
    ],
)
def test_peer_loss_under_noise_is_affine_in_the_clean_one_at_xi_1(
    confusion: Tensor, slope: float, generator: torch.Generator
) -> None:
    # PEERPL-P2
    assert is_class_independent(confusion)
    size = len(confusion)
    clean = torch.eye(size, dtype=torch.float64)[torch.randint(size, (50,), generator=generator)]
    for _ in range(5):
        logits = torch.randn(50, size, generator=generator, dtype=torch.float64)
        noisy = population_loss(logits, clean, confusion, 1.0)
        assert (noisy - slope * population_loss(logits, clean, torch.eye(size).double(), 1.0)).abs() < 1e-14


@pytest.mark.parametrize("case", ["xi", "matrix"])
def test_the_affine_identity_fails_elsewhere(case: str, generator: torch.Generator) -> None:
    # PEERPL-P2: neither for xi = 0.5 nor for a general matrix is the ratio one number.
    confusion = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.4, 0.0, 0.6]], dtype=torch.float64)
    if case == "xi":
        confusion = 0.63 * torch.eye(3, dtype=torch.float64) + 0.37 / 3
    assert is_class_independent(confusion) == (case == "xi")
    clean = torch.eye(3, dtype=torch.float64)[torch.randint(3, (50,), generator=generator)]
    xi, identity = (0.5 if case == "xi" else 1.0), torch.eye(3, dtype=torch.float64)
    rows = []
    for _ in range(4):
        logits = torch.randn(50, 3, generator=generator, dtype=torch.float64)
        losses = [population_loss(logits, clean, matrix, xi) for matrix in (confusion, identity)]
        rows.append([*losses, 1.0])
    # Affine would mean that three points lie on one line.
    assert torch.linalg.det(torch.tensor(rows[:3], dtype=torch.float64)).abs() > 1e-6


@pytest.mark.parametrize("xi", [0.0, 0.2, 0.5])
def test_the_closed_form_is_the_optimum_of_the_peer_objective(xi: float, generator: torch.Generator) -> None:
    # PEERPL-P3
    expert = torch.randn(8, 4, generator=generator, dtype=torch.float64).mul(1.5).softmax(1)
    logits = expert.log().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=400, tolerance_grad=1e-11, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = population_loss(logits, expert, torch.eye(4, dtype=torch.float64), xi, clip=1e-8)
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    optimum = peer_policy(expert, expert.mean(0), xi)
    assert (optimum == 0).any() == (xi > 0)
    torch.testing.assert_close(logits.detach().softmax(1), optimum, rtol=0, atol=1e-6)


def test_the_peer_policy_keeps_to_its_limit_where_nothing_is_left() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])
    marginal = torch.tensor([0.5, 0.3, 0.2])
    assert torch.equal(peer_policy(p, marginal, 0.0), p)
    at_one = peer_policy(p, marginal, 1.0)
    torch.testing.assert_close(at_one[0], p[0])  # p = m: the limit of xi -> 1
    torch.testing.assert_close(at_one[1], torch.tensor([0.0, 2 / 3, 1 / 3]))
    beyond = peer_policy(p, marginal, 3.0)
    torch.testing.assert_close(beyond[1], torch.tensor([0.0, 1.0, 0.0]))  # 5/3 against 3/2
    assert torch.allclose(beyond.sum(1), torch.ones(3))


def test_the_difference_loss_is_a_squared_loss_to_another_reward(generator: torch.Generator) -> None:
    # PEERPL-P4
    q, reward, bootstrap = torch.randn(3, 32, generator=generator, dtype=torch.float64)
    peer = reward[others(32, generator)]
    for xi in (0.1, 0.4, 0.9):
        left = q.clone().requires_grad_()
        difference_loss(left, reward + bootstrap, peer + bootstrap, xi).backward()
        right = q.clone().requires_grad_()
        ((1 - xi) * 0.5 * (right - difference_reward(reward, peer, xi) - bootstrap).square().mean()).backward()
        assert left.grad is not None
        assert right.grad is not None
        torch.testing.assert_close(left.grad, right.grad, rtol=0, atol=1e-15)


@pytest.mark.parametrize("xi", [0.2, 1.0])
@pytest.mark.parametrize(("low_up", "high_down"), [(0.1, 0.3), (0.0, 0.4), (0.2, 0.2)])
def test_noisy_and_peer_rewards_have_the_published_expectations(
    low_up: float, high_down: float, xi: float, generator: torch.Generator
) -> None:
    # PEERPL-P5: levels -1 and 2, of which 2 comes with probability 0.7.
    low, high, share, count = -1.0, 2.0, 0.7, 1_000_000
    uniform = torch.rand(2, count, generator=generator, dtype=torch.float64)
    good = uniform[0] < share
    flipped = uniform[1] < torch.where(good, high_down, low_up)
    noisy = torch.where(good ^ flipped, high, low).double()
    eta = 1 - low_up - high_down
    mean = share * high + (1 - share) * low
    expected = eta * (mean + high_down / eta * low + low_up / eta * high)
    assert (noisy.mean() - expected).abs() < 4 * noisy.std() / count**0.5
    peer = peer_reward(noisy, noisy[others(count, generator)], xi)
    assert (peer.mean() - (1 - xi) * expected).abs() < 4 * peer.std() / count**0.5
    if xi == 1:  # with p_peer = share: both are affine in E[r], the bias of the noise is gone
        published = eta * (mean - (1 - share) * low - share * high)
        assert abs(published - (1 - xi) * expected) < 1e-12
    # A reward of another sample adds variance, their mean adds none.
    assert peer.var().item() == pytest.approx((1 + xi**2) * noisy.var().item(), rel=0.01)
    assert peer_reward(noisy, noisy.mean().item(), xi).var().item() == pytest.approx(noisy.var().item(), rel=1e-9)


def test_the_surrogate_is_unbiased_and_has_the_binary_closed_form() -> None:
    # PEERPL-P6
    low, high, low_up, high_down = -1.0, 1.0, 0.0, 0.3
    matrix = torch.tensor([[1 - low_up, low_up], [high_down, 1 - high_down]], dtype=torch.float64)
    levels = torch.tensor([low, high], dtype=torch.float64)
    found = surrogate_levels(matrix, levels)
    eta = 1 - low_up - high_down
    closed = [((1 - high_down) * low - low_up * high) / eta, ((1 - low_up) * high - high_down * low) / eta]
    torch.testing.assert_close(found, torch.tensor(closed, dtype=torch.float64), rtol=0, atol=1e-14)
    assert found.tolist() == pytest.approx([-1.0, 1.3 / 0.7], abs=1e-12)
    torch.testing.assert_close(matrix @ found, levels, rtol=0, atol=1e-14)


def test_the_tie_toy_has_the_published_shares() -> None:
    # PEERPL-P7: two states, two noisy rewards each; the better one is found, tied or missed.
    generator = torch.Generator().manual_seed(7)
    count = 400_000
    means = torch.tensor([0.6, 0.4])
    drawn = (means + torch.randn(count, 2, 2, generator=generator)).clamp(0, 1)  # runs, samples, states
    gap = drawn.mean(1) @ torch.tensor([1.0, -1.0])
    shares = [(gap > 0).double().mean(), (gap == 0).double().mean(), (gap < 0).double().mean()]
    assert [share.item() for share in shares] == pytest.approx([0.546, 0.054, 0.399], abs=0.003)
    # The peer of a sample is the reward of a random state, from elsewhere.
    state = torch.randint(2, drawn.shape, generator=generator)
    peers = (means[state] + torch.randn(drawn.shape, generator=generator)).clamp(0, 1)
    gap = peer_reward(drawn, peers, 0.1).mean(1) @ torch.tensor([1.0, -1.0])
    tied = (gap.abs() < 1e-6).double().mean().item()
    assert tied == pytest.approx(0.003, abs=0.001)
    assert (gap > 0).double().mean().item() == pytest.approx(0.571, abs=0.003)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [2, 3, 17])
def test_published_confusion_matrices_are_row_stochastic(kind: str, levels: int, generator: torch.Generator) -> None:
    # PEERPL-P9
    matrix = confusion_matrix(kind, levels, 0.3, generator)  # pyright: ignore[reportArgumentType]
    assert (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(1), torch.ones(levels, dtype=torch.float64), rtol=0, atol=1e-12)
    assert not torch.allclose(matrix, torch.eye(levels, dtype=torch.float64))
    assert torch.equal(confusion_matrix(kind, levels, 0.0, generator), torch.eye(levels).double())  # pyright: ignore[reportArgumentType]


def test_the_majority_of_cells_estimates_the_noise() -> None:
    counts = torch.tensor([[70, 30], [35, 15], [20, 80], [0, 0]])
    expected = torch.tensor([[105 / 150, 45 / 150], [0.2, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(majority_confusion(counts), expected)
    one_sided = majority_confusion(torch.tensor([[7, 3]]))
    assert one_sided[1].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("xi", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("noise", [0.1, 0.3, 0.45])
def test_peer_q_learning_finds_the_best_policy_of_the_clean_task(
    xi: float, noise: float, generator: torch.Generator
) -> None:
    # PEERPL-P10: episodes end in a third of the transitions, and the value of the end makes survival worth nothing.
    gamma, states = 0.9, 6
    moves = torch.rand(states, 3, states, generator=generator, dtype=torch.float64) ** 3
    moves /= moves.sum(-1, keepdim=True)
    ends = (torch.rand(states, 3, generator=generator) < 1 / 3).double()
    clean = torch.where(torch.rand(states, 3, generator=generator) < 0.5, 1.0, -1.0).double()
    noisy = (1 - 2 * noise) * clean  # binary symmetric noise in expectation
    noisy_mean = (noisy + 0.05).mean()  # any constant serves

    def best(reward: Tensor, end_value: float) -> Tensor:
        q = torch.zeros_like(reward)
        for _ in range(400):
            q = td_target(reward, moves @ q.amax(1), ends, gamma, end_value)
        return q

    shift = -xi * float(noisy_mean)
    peer = best(peer_reward(noisy, float(noisy_mean), xi), absorbing_value(shift, gamma))
    exact = best(clean, 0.0)
    torch.testing.assert_close(peer, (1 - 2 * noise) * exact + absorbing_value(shift, gamma), rtol=0, atol=1e-10)
    best_two = exact.topk(2, dim=1).values
    clear = best_two[:, 0] - best_two[:, 1] > 1e-9
    assert torch.equal(peer.argmax(1)[clear], exact.argmax(1)[clear])
    if xi:  # without that value, survival is charged or paid for, and the identity fails
        assert not torch.allclose(best(peer_reward(noisy, float(noisy_mean), xi), 0.0), peer)


def lift(scores: Sequence[float], expert: Sequence[float]) -> float:
    """Average the relative gain over the expert: the mean over games of (x - expert) / expert."""
    return sum((score - base) / base for score, base in zip(scores, expert, strict=True)) / len(scores)


@pytest.mark.parametrize(("column", "gain"), [("bc", -0.066), ("xi .2", 0.113), ("xi .5", 0.195), ("xi 1", 0.020)])
def test_the_lift_row_of_the_published_table(column: str, gain: float) -> None:
    # PEERPL-P12
    expert = (15.1, 67.5, 150.1, 21.9)  # Pong, Boxing, Enduro and Freeway
    published = {
        "bc": (14.7, 56.2, 138.9, 22.0),
        "xi .2": (18.8, 67.2, 177.9, 22.5),
        "xi .5": (16.6, 75.6, 230.9, 22.4),
        "xi 1": (16.7, 69.7, 230.4, 8.9),
    }
    assert lift(published[column], expert) == pytest.approx(gain, abs=0.0006)


def test_sharpening_meets_a_mean_entropy(generator: torch.Generator) -> None:
    p = torch.randn(50, 4, generator=generator).softmax(1)
    for share in (0.3, 0.9, 1.1):
        wanted = share * mean_entropy(p).item()
        assert mean_entropy(sharpen(p, matching_exponent(p, wanted))).item() == pytest.approx(wanted, abs=1e-5)
    torch.testing.assert_close(sharpen(p, 1.0), p)
    torch.testing.assert_close(sharpen(p, 2.0), p**2 / (p**2).sum(1, keepdim=True))
    assert sharpen(torch.tensor([[1.0, 0.0]]), 2.0).tolist() == [[1.0, 0.0]]


def test_logit_adjustment_divides_by_the_marginal() -> None:
    p, marginal = torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([0.7, 0.3])
    assert torch.equal(adjust_prior(p, marginal, 0.0), p)
    by_hand = torch.tensor([0.9 / 0.7, 0.1 / 0.3])
    torch.testing.assert_close(adjust_prior(p, marginal, 1.0)[1], by_hand / by_hand.sum())
