"""The same noise under checkpointing, compilation, resumption and on any number of ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.unit.perturb.ranks import CONFIG, Regressor, gradients, work
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from modicum.perturb import HyPe, HyPeConfig
from modicum.perturb.configuration import Noise

MakeBert = Callable[..., BertForSequenceClassification]
Batch = dict[str, Tensor]


# HYPE-C8
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_are_equal_with_checkpointing(reentrant: bool, make_bert: MakeBert, batch: Batch) -> None:
    found = []
    for checkpointed in (False, True):
        model = make_bert()
        if checkpointed:
            model.activation_checkpointing_enable({"use_reentrant": reentrant})
        with HyPe(model, CONFIG):
            model(**batch).loss.backward()
        found.append(gradients(model))
    assert len(found[0]) > 50
    assert all(torch.equal(plain, again) for plain, again in zip(*found, strict=True))


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


# HYPE-C8
@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_compiled_noise_is_bitwise_that_of_eager_code(noise: Noise, make_stack: type[nn.Module]) -> None:
    model, hidden = make_stack(1), torch.linspace(-3, 3, 4 * 9 * 8).view(4, 9, 8)
    with HyPe(model, HyPeConfig(sigma=0.1, noise=noise)) as hype:
        eager = [model(hidden) for _ in range(3)]
        hype.step(0)
        compiled = torch.compile(model, fullgraph=True)
        assert all(torch.equal(compiled(hidden), expected) for expected in eager)
        assert not torch.equal(eager[0], eager[1])


# HYPE-C8
@pytest.mark.usefixtures("fresh_compiler")
def test_a_model_that_was_compiled_before_gets_noise_and_loses_it(make_stack: type[nn.Module]) -> None:
    model, hidden = make_stack(2), torch.ones(4, 9, 8)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(hidden), hidden)
    with HyPe(model, HyPeConfig(sigma=0.1)):
        assert not torch.equal(compiled(hidden), hidden)
    assert torch.equal(compiled(hidden), hidden)


# HYPE-C9
def test_resuming_is_equal_to_not_stopping(make_bert: MakeBert, batch: Batch) -> None:
    def run(model: nn.Module, passes: int, place: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with HyPe(model, CONFIG) as hype:
            hype.step(*place)
            for _ in range(passes):
                model(**batch).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            return hype.position

    whole, parts = make_bert(), make_bert()
    run(whole, 5)
    run(parts, 3, run(parts, 2))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), parts.parameters(), strict=True))


# HYPE-C9
@pytest.mark.slow
def test_two_ranks_are_one_with_the_double_batch(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = {
        "hidden": torch.randn(6, 9, 16, generator=generator),
        "labels": torch.randn(6, generator=generator),
    }
    with torch.random.fork_rng():
        model = Regressor()
    torch.multiprocessing.spawn(  # pyright: ignore[reportPrivateImportUsage]
        work, (str(tmp_path), copy.deepcopy(model), batch), nprocs=2
    )
    theirs = torch.load(tmp_path / "gradients.pt", weights_only=True)
    with HyPe(model, CONFIG):
        model(**batch).backward()
    noisy = gradients(model)
    # Averages over ranks round differently; other noise changes the gradient by parts in a hundred.
    torch.testing.assert_close(theirs, noisy, rtol=1e-4, atol=1e-6)
    model.zero_grad()
    with HyPe(model, CONFIG) as hype:
        hype.step(1)
        model(**batch).backward()
    with pytest.raises(AssertionError):
        torch.testing.assert_close(theirs, gradients(model), rtol=1e-4, atol=1e-6)


# HYPE-C9
def test_a_rank_that_is_given_has_the_samples_after_those_of_the_ranks_before(make_stack: type[nn.Module]) -> None:
    model = make_stack(2)
    with HyPe(model, CONFIG):
        whole = model(torch.zeros(6, 4, 8))
    with HyPe(model, CONFIG, rank=2):
        assert torch.equal(model(torch.zeros(2, 4, 8)), whole[4:])
