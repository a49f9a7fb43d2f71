from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import default_data_collator

from modicum.perturb import digits
from modicum.perturb.dropout import DropoutSwitch
from modicum.perturb.siblings import r_drop_loss
from modicum.perturb.training import Change, Problem, Recipe, Result, fine_tune

RECIPE = Recipe(epochs=2, batch=4, rate=1e-3)


class Recorder:
    """Collates as Trainer does, and keeps what it saw."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = default_data_collator(examples)
        self.batches.append(batch["pixel_values"])
        return batch


def problem(collate: Recorder | None = None) -> Problem:
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    examples = [{"pixel_values": image, "labels": number % 5} for number, image in enumerate(images)]
    return Problem(digits.tiny_vit(0, "initialisation"), examples[:12], examples[12:], collate=collate)


def states() -> tuple[Any, ...]:
    numpy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    place, keys = numpy["state"]["pos"], numpy["state"]["key"].tobytes()
    return random.getstate(), place, keys, torch.get_rng_state().numpy().tobytes()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files and the current one, both empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_fine_tuning_leaves_no_file_no_output_and_no_global_randomness(
    temporary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = states()
    fine_tune(problem(), RECIPE, seed=0, device="cpu")
    assert states() == before
    assert list(temporary.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_fine_tuning_is_a_function_of_its_seed() -> None:
    first, again, other = (fine_tune(problem(), RECIPE, seed=seed, device="cpu") for seed in (0, 0, 1))
    assert np.array_equal(first.outputs, again.outputs)
    assert first.training_loss == again.training_loss
    assert not np.array_equal(first.outputs, other.outputs)


def test_the_order_is_the_same_whatever_an_arm_draws_or_computes() -> None:
    def order(change: Change, *, dropout: bool = True) -> list[Tensor]:
        recorder = Recorder()
        posed = problem(recorder)
        if not dropout:
            DropoutSwitch(posed.model)
        fine_tune(posed, RECIPE, seed=0, device="cpu", change=change)
        return recorder.batches[:6]  # two epochs of three batches; the others are evaluation

    vanilla = order(Change())
    assert not torch.equal(vanilla[0], vanilla[3]), "the epochs have one order"
    for other in (
        order(Change(neftune=5.0)),
        order(Change(), dropout=False),
        order(Change(loss=lambda model, inputs: r_drop_loss(model, inputs, alpha=1.0))),
    ):
        assert all(torch.equal(mine, yours) for mine, yours in zip(vanilla, other, strict=True))


def test_a_loss_replaces_that_of_the_model_in_training_alone() -> None:
    modes: list[bool] = []

    def loss(model: torch.nn.Module, inputs: Any) -> Tensor:
        modes.append(model.training)
        return 0 * model(**inputs).loss

    posed = problem()
    before = {name: weight.clone() for name, weight in posed.model.named_parameters()}
    result = fine_tune(posed, RECIPE, seed=0, device="cpu", change=Change(loss=loss))
    assert modes == [True] * 6
    assert result.training_loss > 0
    # With a gradient of 0 only the decay moves a weight: by at most the sum of the rates times 0.01.
    for name, weight in posed.model.named_parameters():
        torch.testing.assert_close(weight, before[name], rtol=6 * 1e-3 * 0.01, atol=0)


def test_neftune_changes_the_training_and_is_off_afterwards() -> None:
    def run(change: Change) -> tuple[Result, Problem]:
        posed = problem()
        DropoutSwitch(posed.model)
        return fine_tune(posed, RECIPE, seed=0, device="cpu", change=change), posed

    (plain, _), (noisy, posed) = run(Change()), run(Change(neftune=5.0))
    assert not np.array_equal(plain.outputs, noisy.outputs)
    assert not posed.model.get_input_embeddings()._forward_hooks


def test_the_training_loss_is_the_models_own_without_dropout() -> None:
    posed = problem()
    result = fine_tune(posed, RECIPE, seed=0, device="cpu", change=Change(neftune=5.0))
    posed.model.eval()
    with torch.no_grad():
        loss = posed.model(**default_data_collator(list(posed.train))).loss.item()
        outputs = posed.model(**default_data_collator(list(posed.held_out))).logits
    assert result.training_loss == pytest.approx(loss, rel=1e-5)  # float32, one batch as there
    np.testing.assert_allclose(result.outputs, outputs.numpy(), rtol=1e-5, atol=1e-6)
