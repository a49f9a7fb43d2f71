"""The published predictor: a directed message-passing network that reads the molecule, 200 descriptors and T."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from modicum.core.devices import check_device
from modicum.core.extras import require
from modicum.core.files import aside, make_folder
from modicum.core.progress import Progress, silent
from modicum.core.safeload import load_torch
from modicum.core.safeload.building import bounded_build
from modicum.core.seeding import torch_generator
from modicum.core.storage import Format
from modicum.errors import ConfigError, DataError, StateError
from modicum.molecules.configuration import DMPNN_FILE
from modicum.molecules.data.smiles import in_own_order, read_molecule
from modicum.molecules.data.table import Property, PropertyTable, check_labels, kelvins
from modicum.molecules.functional import FloatArray, IntArray
from modicum.molecules.predict.environments import Environments

if TYPE_CHECKING:
    from chemprop.data.molgraph import MolGraph
    from chemprop.models import MPNN


DESCRIPTORS = 200

_CACHED = 20_000  # ours: molecules whose descriptors are kept, 1.6 kB each; one takes about 5 ms
_AGAIN = "Train it again with DMPNN.fit and save."
# Version 1, which had no number, was trained on descriptors replaced by their shares in a reference population.
_FORMAT = Format(name="modicum.dmpnn", version=2, what="D-MPNN", hint=_AGAIN)


def describe(molecules: Sequence[str]) -> FloatArray:
    """Compute ``rdkit_2d``, 200 descriptors of RDKit, as version 1 of chemprop did."""
    return np.array([_describe(smiles) for smiles in molecules], dtype=float).reshape(len(molecules), DESCRIPTORS)


@functools.lru_cache(maxsize=_CACHED)
def _describe(smiles: str) -> FloatArray:
    found = np.asarray(_featurizer()(in_own_order(read_molecule(smiles))), dtype=float)
    found = np.where(np.isnan(found), 0.0, found)  # partial charges of some metals; 0 in chemprop 1, too
    if np.abs(found).max() > np.finfo(np.float32).max:  # Ipc grows exponentially with the atoms
        raise DataError(
            f"A descriptor of {smiles} is too large for single precision, in which the network computes.",
            hint="Leave out molecules of more than about 100 atoms, or use GaussianProcess, which reads none.",
        )
    return found


@functools.cache
def _featurizer():
    require("chemprop", extra="molecules", purpose="Describing molecules for the D-MPNN")
    from chemprop.featurizers.molecule import V1RDKit2DFeaturizer

    return V1RDKit2DFeaturizer()


# Official code: the settings of the published models.
DEPTH = 3
BATCH = 50
WARMUP_EPOCHS = 2
LOWEST_RATE, HIGHEST_RATE = 1e-4, 1e-3

_CACHED = 20_000  # ours: molecules whose graphs are kept, about 15 kB each
_CHUNK = 256  # ours: molecules encoded at once when predicting


class DMPNN:
    """Directed message passing of chemprop 2 at the published settings.

    Use it where labels are there for some hundred molecules; it gives no deviation of its own. `GaussianProcess` does.

    Args:
        width: of the messages and of the hidden layer of the read-out; the published 300.

    Source:
        Yang et al. 2019 (the network); official ALMS at 8db99ca (its settings): depth 3, ReLU, no dropout, mean over
        atoms, one hidden layer (two layers as version 1 of chemprop counted), 200 RDKit descriptors as they are
        (``rdkit_2d``) and T beside the encoding, all standardised on the training rows, standardised targets, squared
        error, batches of 50, Adam at 1e-4 to 1e-3 in 2 epochs and back to 1e-4, weights by Xavier's normal rule and no
        bias at first; the last epoch is kept. Departures: atoms and bonds are described as in chemprop 2 (for alkanes
        both versions tell the same); a descriptor that varies in training by rounding alone keeps its scale, in
        chemprop 1 only one that does not vary at all; a molecule with a descriptor beyond single precision is refused.
    """

    def __init__(self, *, width: int = 300) -> None:
        if width < 1:
            raise ConfigError(f"The width must be at least 1, got {width}.", hint="Use 300, or 32 for a trial.")
        self.width = width
        self.property: Property | None = None
        self.losses: tuple[float, ...] = ()
        self._network: MPNN | None = None
        self._inputs = np.empty((2, 0))  # mean and scale of each descriptor and of T
        self._target = (0.0, 1.0)  # mean and scale

    @property
    def quantity(self) -> str | None:
        """Name of the property that it predicts; None before `fit`."""
        return None if self.property is None else self.property.name

    def fit(
        self,
        table: PropertyTable,
        *,
        epochs: int = 100,
        seed: int = 0,
        device: str = "cpu",
        progress: Progress = silent,
    ) -> DMPNN:
        """Train from new weights.

        Args:
            table: labels; its errors are not used, as in the paper.
            epochs: passes over all rows.
            seed: of the first weights and of the order of rows.
            device: "cpu", "cuda"; the network stays there.
            progress: called after each epoch with (its number, epochs in all, its mean loss in words).

        Returns:
            Itself; `losses` holds the mean loss of each epoch.

        Raises:
            ConfigError: if there are no epochs, torch has no such device, there are no two different values, or one
                cannot be a label.
            DataError: if a molecule cannot be read.
            MissingExtraError: if chemprop is not installed.
        """
        if epochs < 1:
            raise ConfigError(f"There must be at least 1 epoch, got {epochs}.", hint="The published number is 100.")
        if len(table) < 2 or np.ptp(table.value) == 0:
            raise ConfigError("A network needs labels that differ.", hint="Give rows of more than one value.")
        check_labels(table)
        check_device(device)
        raw = _inputs(table.smiles, kelvins(table.property, len(table), table.temperature))
        scaler = require("sklearn.preprocessing", extra="molecules", purpose="Scaling").StandardScaler().fit(raw)
        self._inputs = np.stack([scaler.mean_, scaler.scale_])
        self._target = (float(table.value.mean()), float(table.value.std()))
        self.property = table.property
        self._network = _build(self.width, raw.shape[1]).to(device)
        _initialise(self._network, torch_generator(seed, "initialisation"))
        target = (table.value - self._target[0]) / self._target[1]
        self.losses = _train(
            self._network,
            _environments(table.molecules, torch.device(device)),
            _places(table.smiles),
            torch.tensor(self._scale(raw), device=device),
            torch.tensor(target[:, None], dtype=torch.float32, device=device),
            epochs=epochs,
            generator=torch_generator(seed, "order"),
            progress=progress,
        )
        return self

    def predict(self, smiles: Sequence[str], temperature: FloatArray | None = None) -> FloatArray:
        """Predict the property.

        Args:
            smiles: of the molecule of each row; each distinct one is encoded once.
            temperature: K, shape (n,), above 0 and up to 5000; None for a property without temperature.

        Returns:
            In the unit of the labels, shape (n,).

        Raises:
            ConfigError: if the columns differ in length, or a temperature is impossible, missing or not used.
            DataError: if a molecule cannot be read.
            StateError: if it was not fitted.
        """
        network = self._fitted()
        temperature = kelvins(self.property, len(smiles), temperature)
        device = next(network.parameters()).device
        molecules, index = list(dict.fromkeys(smiles)), _places(smiles)
        result = np.empty(len(smiles))
        network.eval()
        with torch.inference_mode():
            for start in range(0, len(molecules), _CHUNK):
                chunk = molecules[start : start + _CHUNK]
                encoded = _environments(chunk, device).encode(network, range(len(chunk)))
                rows = np.flatnonzero((index >= start) & (index < start + _CHUNK))
                raw = _inputs([smiles[row] for row in rows.tolist()], temperature[rows])
                beside = torch.tensor(self._scale(raw), device=device)
                output = network.predictor(torch.cat((encoded[index[rows] - start], beside), dim=1))
                result[rows] = output[:, 0].double().cpu().numpy()
        return result * self._target[1] + self._target[0]

    def save(self, folder: Path) -> None:
        """Write `DMPNN_FILE` into a folder, whole or not at all.

        Raises:
            ConfigError: if it cannot be written.
            StateError: if it was not fitted.
        """
        content = {
            "version": _FORMAT.version,
            "width": self.width,
            "property": None if self.property is None else astuple(self.property),
            "losses": list(self.losses),
            "inputs": torch.tensor(self._inputs),
            "target": list(self._target),
            "weights": {name: value.cpu() for name, value in self._fitted().state_dict().items()},
        }
        written = io.BytesIO()
        torch.save(content, written)
        make_folder(folder)
        with aside(folder / DMPNN_FILE) as part:
            part.write_bytes(written.getvalue())

    @classmethod
    def load(cls, folder: Path) -> DMPNN:
        """Read a network that `save` wrote, without running code of the file.

        Raises:
            DataError: if the file is missing, damaged, of an older version or something else.
        """
        # Not a file of chemprop: it is loaded with weights_only=False, which runs code that stands in the file.
        path = folder / DMPNN_FILE
        content = cast("dict[str, object]", load_torch(path))
        try:
            _FORMAT.check(path, _FORMAT.name, content.get("version", 1))
            model = cls(width=int(cast("int", content["width"])))
            name, unit, temperature = cast("tuple[str, str, bool]", content["property"])
            model.property = Property(str(name), str(unit), bool(temperature))
            model.losses = tuple(cast("list[float]", content["losses"]))
            model._inputs = cast("Tensor", content["inputs"]).numpy()
            mean, scale = cast("list[float]", content["target"])
            model._target = (float(mean), float(scale))
            with bounded_build(path, hint=_AGAIN):
                model._network = _build(model.width, model._inputs.shape[1])
            model._network.load_state_dict(cast("dict[str, Tensor]", content["weights"]))
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            raise DataError(f"{path} is not a network of this library ({error}).", hint=_AGAIN) from error
        return model

    def _fitted(self) -> MPNN:
        if self._network is None:
            raise StateError("The network was not fitted.", hint="Call fit, or load a saved one.")
        return self._network

    def _scale(self, raw: FloatArray) -> np.ndarray:
        return ((raw - self._inputs[0]) / self._inputs[1]).astype(np.float32)


def _places(smiles: Sequence[str]) -> IntArray:
    places = {molecule: place for place, molecule in enumerate(dict.fromkeys(smiles))}
    return np.array([places[molecule] for molecule in smiles], dtype=int)


def _inputs(smiles: Sequence[str], temperature: FloatArray) -> FloatArray:
    molecules = list(dict.fromkeys(smiles))
    described = dict(zip(molecules, describe(molecules), strict=True))
    return np.column_stack([np.stack([described[it] for it in smiles]), temperature])


@functools.lru_cache(maxsize=_CACHED)
def _graph(smiles: str) -> MolGraph:
    require("chemprop", extra="molecules", purpose="The D-MPNN")
    from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer

    return SimpleMoleculeMolGraphFeaturizer()(in_own_order(read_molecule(smiles)))


def _environments(molecules: Sequence[str], device: torch.device) -> Environments:
    return Environments([_graph(smiles) for smiles in molecules], depth=DEPTH, device=device)


def _build(width: int, inputs: int) -> MPNN:
    require("chemprop", extra="molecules", purpose="The D-MPNN")
    from chemprop.models import MPNN
    from chemprop.nn import BondMessagePassing, MeanAggregation, RegressionFFN

    with torch.random.fork_rng(devices=[]):  # torch draws first weights, which are replaced
        return MPNN(
            BondMessagePassing(d_h=width, depth=DEPTH),  # pyright: ignore[reportAbstractUsage] - hparams is set later
            MeanAggregation(),
            RegressionFFN(  # pyright: ignore[reportAbstractUsage]
                input_dim=width + inputs, hidden_dim=width, n_layers=1
            ),
        )


@torch.no_grad()
def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    for parameter in network.parameters():
        value = torch.zeros(parameter.shape)  # drawn on the CPU, so that every device starts alike
        if value.ndim > 1:
            nn.init.xavier_normal_(value, generator=generator)
        parameter.copy_(value)


def _train(
    network: MPNN,
    environments: Environments,
    molecules: IntArray,
    inputs: Tensor,
    target: Tensor,
    *,
    epochs: int,
    generator: torch.Generator,
    progress: Progress,
) -> tuple[float, ...]:
    from chemprop.schedulers import build_NoamLike_LRSched

    optimizer = torch.optim.Adam(network.parameters(), lr=LOWEST_RATE, fused=True)  # fused: a quarter less time
    steps = -(-len(molecules) // BATCH)
    warmup, cooldown = WARMUP_EPOCHS * steps, (epochs - WARMUP_EPOCHS) * steps
    schedule = build_NoamLike_LRSched(optimizer, warmup, cooldown, LOWEST_RATE, HIGHEST_RATE, LOWEST_RATE)
    losses: list[float] = []
    network.train()
    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(molecules), generator=generator).split(BATCH):
            encoded = environments.encode(network, molecules[rows.numpy()].tolist())
            output = network.predictor(torch.cat((encoded, inputs[rows]), dim=1))
            loss = nn.functional.mse_loss(output, target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        losses.append(total / len(molecules))
        progress(epoch, epochs, f"loss {losses[-1]:.5f}")
    return tuple(losses)
