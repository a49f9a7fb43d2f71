from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from chemprop.data import BatchMolGraph
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from rdkit import Chem

from modicum.errors import ConfigError, DataError, StateError, UnsafeFileError
from modicum.molecules.data.table import PropertyTable
from modicum.molecules.predict.dmpnn import BATCH, DMPNN, DMPNN_FILE, describe

SMILES = ("CCCC", "CC(C)C", "CCCCC", "CCC(C)C", "CC(C)(C)C", "CCCCCC", "CCCC(C)C", "CCC(C)CC")
TEMPERATURES = (250.0, 275.0, 300.0)


def labels(molecules: tuple[str, ...] = SMILES) -> PropertyTable:
    """A smooth made-up density: it grows with the carbons and falls with T and with the branches."""
    rows = [(smiles, t) for smiles in molecules for t in TEMPERATURES]
    value = [500 + 30 * smiles.count("C") - 20 * smiles.count("(") - 0.8 * (t - 275) for smiles, t in rows]
    return PropertyTable(
        quantity="density",
        smiles=tuple(smiles for smiles, _ in rows),
        temperature=np.array([t for _, t in rows]),
        value=np.array(value),
    )


@pytest.fixture(scope="module")
def trained() -> DMPNN:
    return DMPNN(width=32).fit(labels(), epochs=250, seed=1)


def test_it_learns_its_labels(trained: DMPNN) -> None:
    table = labels()
    residual = trained.predict(table.smiles, table.temperature) - table.value
    assert np.sqrt(np.mean(residual**2)) < 0.2 * table.value.std()
    assert len(trained.losses) == 250
    assert trained.losses[-1] < 0.1 * trained.losses[0]


def test_a_prediction_is_the_network_of_chemprop_on_one_row_at_a_time(trained: DMPNN) -> None:
    """Each distinct molecule is encoded once and rows are gathered: the same as row by row."""
    table = labels()
    network, (mean, scale) = trained._fitted(), trained._inputs
    expected = []
    with torch.inference_mode():
        for smiles, temperature in zip(table.smiles, table.temperature, strict=True):
            graph = BatchMolGraph([SimpleMoleculeMolGraphFeaturizer()(Chem.MolFromSmiles(smiles))])
            inputs = (np.append(describe((smiles,))[0], temperature) - mean) / scale
            expected.append(network(graph, None, torch.tensor(inputs[None], dtype=torch.float32)).item())
    center, spread = table.value.mean(), table.value.std()
    predicted = trained.predict(table.smiles, table.temperature)
    np.testing.assert_allclose(predicted, np.array(expected) * spread + center, rtol=1e-6)


def test_the_first_loss_is_that_of_untrained_weights_on_standardised_targets() -> None:
    # Small rates and one batch: the network still answers as its first weights do, and MSE is about the variance.
    model = DMPNN(width=300).fit(labels(), epochs=1, seed=0)
    assert 0.5 < model.losses[0] < 3.0


def test_the_settings_are_the_published_ones() -> None:
    network = DMPNN().fit(labels(SMILES[:2]), epochs=1)._fitted()
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    assert shapes["message_passing.W_h.weight"] == (300, 300)
    assert shapes["predictor.ffn.0.0.weight"] == (300, 300 + 200 + 1)
    assert shapes["predictor.ffn.1.2.weight"] == (1, 300)
    assert network.message_passing.depth == 3  # pyright: ignore[reportAttributeAccessIssue]
    assert type(network.agg).__name__ == "MeanAggregation"


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second, other = (DMPNN(width=8).fit(labels(), epochs=2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    table = labels()
    predictions = [model.predict(table.smiles, table.temperature) for model in (first, second, other)]
    np.testing.assert_array_equal(predictions[0], predictions[1])
    assert not np.allclose(predictions[0], predictions[2])


def test_a_last_batch_of_one_row_is_learnt_from() -> None:
    table = labels(tuple("C" * count for count in range(4, 21)))
    assert len(table) == BATCH + 1
    assert np.isfinite(DMPNN(width=8).fit(table, epochs=1).losses).all()


def test_progress_tells_each_epoch() -> None:
    told: list[tuple[int, int, str]] = []
    model = DMPNN(width=8).fit(labels(), epochs=3, progress=lambda *step: told.append(step))
    assert told == [(epoch, 3, f"loss {loss:.5f}") for epoch, loss in enumerate(model.losses, 1)]


def test_what_is_saved_predicts_the_same(trained: DMPNN, tmp_path: Path) -> None:
    trained.save(tmp_path / "new" / "model")
    again = DMPNN.load(tmp_path / "new" / "model")
    table = labels()
    np.testing.assert_array_equal(
        again.predict(table.smiles, table.temperature), trained.predict(table.smiles, table.temperature)
    )
    assert (again.quantity, again.width, again.losses) == ("density", 32, trained.losses)
    assert [path.name for path in (tmp_path / "new" / "model").iterdir()] == [DMPNN_FILE]


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a complete torch file"):
        DMPNN.load(tmp_path)
    torch.save({"version": 2, "width": 8}, tmp_path / DMPNN_FILE)
    with pytest.raises(DataError, match="is not a network of this library"):
        DMPNN.load(tmp_path)
    torch.save([1, 2], tmp_path / DMPNN_FILE)
    with pytest.raises(DataError, match="is not a network of this library"):
        DMPNN.load(tmp_path)
    torch.save(DMPNN(), tmp_path / DMPNN_FILE)
    with pytest.raises(UnsafeFileError, match="asks for"):
        DMPNN.load(tmp_path)


def test_a_network_of_normalised_descriptors_is_refused(trained: DMPNN, tmp_path: Path) -> None:
    trained.save(tmp_path)
    content = torch.load(tmp_path / DMPNN_FILE, weights_only=True)
    del content["version"]  # as it was saved then
    torch.save(content, tmp_path / DMPNN_FILE)
    with pytest.raises(DataError, match="has version 1 of the format, but this modicum reads version 2") as refused:
        DMPNN.load(tmp_path)
    assert "make it again" in str(refused.value)


def test_inputs_that_do_not_vary_in_training_are_not_scaled() -> None:
    network = DMPNN(width=8).fit(labels(("CCCC", "CCCCC")), epochs=1)
    mean, scale = network._inputs
    described = np.append(describe(("CCCC", "CCCCC")), [[250.0], [300.0]], axis=1)
    constant = described[0] == described[1]
    assert 100 < constant.sum() < 200  # there is no oxygen, no ring, ...
    np.testing.assert_array_equal(scale[constant], 1.0)
    np.testing.assert_allclose(network._scale(described)[:, constant], 0.0, atol=1e-12)
    np.testing.assert_allclose(mean[:-1], described[:, :-1].mean(axis=0), rtol=1e-12)


def test_a_full_disk_leaves_the_older_network(trained: DMPNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained.save(tmp_path)
    before = (tmp_path / DMPNN_FILE).read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ConfigError, match="cannot be written"):
        trained.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [DMPNN_FILE]
    assert (tmp_path / DMPNN_FILE).read_bytes() == before


def test_bad_arguments_are_named(trained: DMPNN) -> None:
    with pytest.raises(ConfigError, match="width must be at least 1, got 0"):
        DMPNN(width=0)
    with pytest.raises(ConfigError, match="at least 1 epoch, got 0"):
        DMPNN().fit(labels(), epochs=0)
    with pytest.raises(ConfigError, match="torch cannot use the device 'gpu'"):
        DMPNN().fit(labels(), device="gpu")
    with pytest.raises(ConfigError, match="at most 5000 K, got nan"):
        trained.predict(("CCCC",), np.array([np.nan]))
    one = labels(("CCCC",)).of(frozenset())
    with pytest.raises(ConfigError, match="labels that differ"):
        DMPNN().fit(one)
    with pytest.raises(StateError, match="not fitted"):
        DMPNN().predict(("CCCC",), np.array([300.0]))
    with pytest.raises(ConfigError, match=r"2 molecules, but temperatures of shape \(1,\)"):
        trained.predict(("CCCC", "CCC"), np.array([300.0]))
    with pytest.raises(DataError, match=r"cannot read the SMILES 'C\(C'"):
        trained.predict(("C(C",), np.array([300.0]))


def test_a_spelling_changes_no_prediction() -> None:
    smiles = ("C[C@H](O)CC", "C[C@@H](O)CC", "CC[C@H](C)CCC", "CCCC")
    table = PropertyTable(
        quantity="density",
        smiles=smiles,
        temperature=np.full(4, 298.0),
        value=np.array([803.0, 811.0, 687.0, 600.0]),
    )
    network = DMPNN(width=16).fit(table, epochs=3)
    other = ("O[C@@H](C)CC", "O[C@H](C)CC", "C[C@@H](CC)CCC", "C(C)CC")
    first, second = network.predict(smiles, table.temperature), network.predict(other, table.temperature)
    np.testing.assert_allclose(first, second, rtol=1e-6)
    assert first[0] != first[1]
