from __future__ import annotations

import numpy as np
import pytest
import torch
from chemprop.data import BatchMolGraph
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from rdkit import Chem

from modicum.molecules.predict.dmpnn import DEPTH, _build, _initialise
from modicum.molecules.predict.environments import Environments

ALKANES = ("CCCC", "CC(C)C", "CCCCC", "CC(C)(C)C", "CCCC(C)C")


@pytest.mark.parametrize(
    "smiles", [ALKANES, ("c1ccccc1O", "C[C@H](O)CC", "CC=CC#N", "C", "O=C1CC1", "CCCC"), ("C", "O")]
)
def test_vectors_and_gradients_are_those_of_chemprop(smiles: tuple[str, ...]) -> None:
    graphs = [SimpleMoleculeMolGraphFeaturizer()(Chem.MolFromSmiles(text)) for text in smiles]
    network = _build(16, 3)
    _initialise(network, torch.Generator().manual_seed(0))
    asked = [*range(len(graphs)), 0, 1, 0]  # a batch may have a molecule several times
    weights = torch.linspace(-1, 1, len(asked))[:, None]
    found: list[tuple[torch.Tensor, list[torch.Tensor]]] = []
    for ours in (True, False):
        if ours:
            encoded = Environments(graphs, depth=DEPTH, device=torch.device("cpu")).encode(network, asked)
        else:
            encoded = network.fingerprint(BatchMolGraph([graphs[place] for place in asked]))
        network.zero_grad()
        (encoded * weights).square().sum().backward()
        gradients = [weight.grad for weight in network.message_passing.parameters()]
        found.append((encoded, [it for it in gradients if it is not None]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    assert len(found[0][1]) == 4
    for mine, chemprops in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(mine, chemprops, rtol=1e-5, atol=1e-5)


def test_what_is_equal_is_counted_once() -> None:
    graphs = [SimpleMoleculeMolGraphFeaturizer()(Chem.MolFromSmiles("C" * length)) for length in (8, 9)]
    environments = Environments(graphs, depth=DEPTH, device=torch.device("cpu"))
    # Atoms of a chain differ by their distance to an end, 0 to 3; the middle of nonane sees none.
    assert len(environments._own[-1]) == 5
    assert np.array_equal(environments._molecules[0][:4], environments._molecules[0][:3:-1])
