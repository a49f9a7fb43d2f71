from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.distributions import Normal
from torch.nn.functional import cross_entropy

from modicum.errors import ConfigError
from modicum.weakpolicy import PeerLoss, XiSchedule


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20211207)


def test_the_default_is_cross_entropy_minus_the_mean_over_all_pairs(generator: torch.Generator) -> None:
    logits = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    actions = torch.randint(3, (12,), generator=generator)
    pairs = torch.stack([-(logits.softmax(1) + 1e-8).log()[:, action] for action in actions])
    expected = cross_entropy(logits, actions) - 0.2 * pairs.mean()
    torch.testing.assert_close(PeerLoss()(logits, actions), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(PeerLoss(xi=0)(logits, actions), cross_entropy(logits, actions))


@pytest.mark.parametrize("mode", ["exact", "exact_distinct", "shuffle"])
def test_a_function_as_base_gives_what_the_built_in_gives(mode: str, generator: torch.Generator) -> None:
    logits = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    actions = torch.randint(3, (10,), generator=generator)
    seeds = [torch.Generator().manual_seed(5) for _ in range(2)]
    own = PeerLoss(lambda x, a: cross_entropy(x, a, reduction="none"), 0.4, mode, generator=seeds[0])  # pyright: ignore[reportArgumentType]
    built_in = PeerLoss("ce", 0.4, mode, clip=0.0, generator=seeds[1])  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(own(logits, actions), built_in(logits, actions))


@pytest.mark.parametrize("mode", ["exact", "exact_distinct", "shuffle"])
def test_a_gaussian_policy(mode: str, generator: torch.Generator) -> None:
    mean, actions = torch.randn(2, 9, 2, generator=generator, dtype=torch.float64)
    std = torch.tensor([0.5, 2.0], dtype=torch.float64)
    seeds = [torch.Generator().manual_seed(5) for _ in range(2)]
    built_in = PeerLoss("gaussian", 0.4, mode, generator=seeds[0])  # pyright: ignore[reportArgumentType]
    own = PeerLoss(lambda m, a: -Normal(m, std).log_prob(a).sum(1), 0.4, mode, generator=seeds[1])  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(built_in(Normal(mean, std.expand(9, 2)), actions), own(mean, actions))


def test_the_clip_bounds_the_peer_term_alone() -> None:
    logits = torch.tensor([[0.0, 60.0], [0.0, 60.0]], requires_grad=True)
    actions = torch.tensor([0, 0])
    loss = PeerLoss(xi=1.0)(logits, actions)
    assert loss.item() == pytest.approx(60 + math.log(1e-8), abs=1e-3)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() > 0.4  # of the agreement; the gradient of the clipped term is gone


@pytest.mark.parametrize("mode", ["exact", "shuffle"])
def test_half_precision_keeps_the_clip(mode: str) -> None:
    logits = torch.tensor([[0.0, 60.0], [0.0, 60.0]], dtype=torch.float16)
    loss = PeerLoss(xi=0.5, mode=mode)(logits, torch.tensor([0, 0]))  # pyright: ignore[reportArgumentType]
    assert loss.item() == pytest.approx(60 + 0.5 * math.log(1e-8), abs=0.1)


def test_shuffles_differ_and_average_to_the_exact_loss(generator: torch.Generator) -> None:
    # PEERPL-P1
    logits = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    actions = torch.randint(4, (30,), generator=generator)
    shuffle = PeerLoss(mode="shuffle", generator=generator)
    drawn = torch.stack([shuffle(logits, actions) for _ in range(800)])
    assert (drawn.mean() - PeerLoss()(logits, actions)).abs() < 3 * drawn.std() / math.sqrt(len(drawn))
    assert drawn.std() > 0


def test_it_is_a_loss_that_trains_and_moves() -> None:
    loss = PeerLoss(xi=0.5)
    assert isinstance(loss, torch.nn.Module)
    loss.xi = 0.1
    assert loss.xi == 0.1
    with pytest.raises(ConfigError, match="xi must be a number from 0 on"):
        loss.xi = -0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"xi": -0.1}, "xi must be a number from 0 on, got -0.1"),
        ({"xi": math.nan}, "xi must be a number from 0 on"),
        ({"mode": "all"}, "mode must be one of exact, exact_distinct, shuffle"),
        ({"base": "huber"}, "base must be ce, gaussian or a function"),
        ({"clip": 1.0}, "clip must be from 0 to below 1"),
    ],
)
def test_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PeerLoss(**settings)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("base", "outputs", "actions", "message"),
    [
        ("ce", torch.zeros(3, 2), torch.tensor([0, 1, 2]), "Actions must be from 0 to 1, got 0 to 2"),
        ("ce", torch.zeros(3, 2), torch.tensor([0, -1, 1]), "Actions must be from 0 to 1, got -1 to 1"),
        ("ce", torch.zeros(3, 2), torch.tensor([0.0, 1.0, 0.0]), "the action space is continuous"),
        ("ce", torch.zeros(3, 2), torch.tensor([0, 1]), r"got \(3, 2\) and \(2,\)"),
        ("gaussian", torch.zeros(3, 2), torch.zeros(3, 2), "A Normal of shape"),
    ],
)
def test_batches_are_refused(base: str, outputs: torch.Tensor, actions: torch.Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PeerLoss(base)(outputs, actions)  # pyright: ignore[reportArgumentType]


PROGRESS = (0.0, 0.1, 0.2, 0.200001, 0.5, 1.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (XiSchedule(steps=(0.1, 0.2, 0.3, 0.2, 0.1)), (0.1, 0.1, 0.1, 0.2, 0.3, 0.1)),
        (XiSchedule(steps=(0.0, 0.2, 0.3, 0.2, 0.0)), (0.0, 0.0, 0.0, 0.2, 0.3, 0.0)),
        (XiSchedule("increasing", 0.2), tuple(0.2 * p for p in PROGRESS)),
        (XiSchedule("increasing", 0.3), tuple(0.3 * p for p in PROGRESS)),
        (XiSchedule("decreasing", 0.2), tuple(0.2 * (1 - p) for p in PROGRESS)),
        (XiSchedule("decreasing", 0.3), tuple(0.3 * (1 - p) for p in PROGRESS)),
        (XiSchedule("triangular", 0.2), tuple(0.2 * (1 - 2 * abs(p - 0.5)) for p in PROGRESS)),
        (XiSchedule("triangular", 0.3), tuple(0.3 * (1 - 2 * abs(p - 0.5)) for p in PROGRESS)),
        (XiSchedule("constant", 0.4, start=0.1, end=0.5), (0.0, 0.4, 0.4, 0.4, 0.4, 0.0)),
    ],
)
def test_schedules_are_the_published_ones(schedule: XiSchedule, expected: tuple[float, ...]) -> None:
    # PEERPL-P8: patterns 0 to 7 of the released code, and a window of its co-training
    assert [schedule(progress) for progress in PROGRESS] == pytest.approx(expected)


def test_a_triangle_of_cotraining_has_its_peak_at_the_middle_of_its_window() -> None:
    # PEERPL-P8
    schedule = XiSchedule("triangular", 1.0, start=0.2, end=0.6)
    assert schedule(0.4) == pytest.approx(1.0)
    assert [schedule(p) for p in (0.1, 0.2, 0.6, 0.7)] == pytest.approx([0, 0, 0, 0], abs=1e-12)


def test_schedules_are_refused() -> None:
    with pytest.raises(ConfigError, match="xi must be a number from 0 on"):
        XiSchedule(steps=(0.1, -0.2))
    with pytest.raises(ConfigError, match="0 <= start < end <= 1"):
        XiSchedule("triangular", start=0.5, end=0.5)


@pytest.mark.parametrize("mode", ["exact", "exact_distinct", "shuffle"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_may_be_integers_of_any_width(mode: Any, dtype: torch.dtype) -> None:
    logits, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 2, 1, 0])
    found = [
        PeerLoss(mode=mode, generator=torch.Generator().manual_seed(1))(logits, each)
        for each in (labels.to(dtype), labels)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("base", "outputs", "actions", "words"),
    [
        ("gaussian", Normal(torch.zeros(4), 1.0), torch.zeros(4), r"A Normal of shape \(N, D\)"),
        ("gaussian", Normal(torch.zeros(0, 1), 1.0), torch.zeros(0, 1), r"A Normal of shape \(N, D\)"),
        ("ce", torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), "floating-point"),
        ("ce", torch.zeros(2, 3), [0, 1], "A tensor of actions was expected, got list"),
    ],
)
def test_what_has_no_loss_is_refused(base: Any, outputs: Any, actions: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PeerLoss(base)(outputs, actions)
