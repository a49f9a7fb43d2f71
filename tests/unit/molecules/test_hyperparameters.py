from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError
from modicum.molecules.kernel.hyperparameters import read_hyperparameters
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel
from modicum.molecules.kernel.microkernels import (
    Additive,
    Constant,
    Convolution,
    KroneckerDelta,
    SquareExponential,
    TensorProduct,
)

GOOD = {
    "a_type": ["Tensorproduct", "fixed"],
    "atom_AtomicNumber": {"kDelta": [0.75, [0.75, 1.0], 0.05]},
    "atom_RingSize_list": {"kConv": [0.9, "fixed"]},
    "b_type": ["Additive", "fixed"],
    "bond_Order": {"kDelta": [0.9, "fixed"]},
    "p_type": ["Additive_p", "fixed"],
    "probability_AtomicNumber": {"Const_p": [1.0, "fixed"]},
    "q": [0.01, [0.01, 0.5], 0.01],
    "Normalization": [100, [1000, 30000]],
}


def write(folder: Path, **changes: object) -> Path:
    content = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    path = folder / "kernel.json"
    path.write_text(json.dumps(content))
    return path


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    read = read_hyperparameters(write(tmp_path))
    assert read.nodes.parts == {
        "AtomicNumber": KroneckerDelta(0.75, (0.75, 1.0)),
        "RingSize_list": Convolution(KroneckerDelta(0.9)),
    }
    assert (read.nodes.rule, read.edges.rule) == ("product", "sum")
    assert (read.q.value, read.q.bounds, read.p.bounds) == (0.01, (0.01, 0.5), "fixed")
    assert read.scale is not None
    assert (read.scale.value, read.scale.bounds) == (100, (100, 30000))  # of the file: (1000, 30000)


@pytest.mark.parametrize(("value", "bounds"), [(0.1, (0.1, 0.9)), (0.95, (0.5, 0.95)), (0.6, (0.5, 0.9))])
def test_bounds_of_a_file_hold_its_value(value: float, bounds: tuple[float, float], tmp_path: Path) -> None:
    path = write(tmp_path, atom_AtomicNumber={"kDelta": [value, [0.5, 0.9]]})
    assert read_hyperparameters(path).nodes.parts["AtomicNumber"].bounds == bounds


def test_the_published_values_lie_within_their_bounds(tmp_path: Path) -> None:
    for kernel in (MarginalizedGraphKernel.published(), MarginalizedGraphKernel.from_json(write(tmp_path))):
        low, high = kernel.bounds.T
        assert np.all(low <= kernel.theta + 1e-12)
        assert np.all(kernel.theta <= high + 1e-12)


def test_without_a_scale_the_normalisation_is_the_cosine(tmp_path: Path) -> None:
    assert read_hyperparameters(write(tmp_path, Normalization=True)).scale is None
    kernel = MarginalizedGraphKernel.from_json(write(tmp_path, Normalization=None))
    raw = MarginalizedGraphKernel.from_json(write(tmp_path, Normalization=None), normalize=False)
    pair = ["CC", "CCO"]
    gram = raw(pair)
    assert kernel(pair)[0, 1] == pytest.approx(gram[0, 1] / (gram[0, 0] * gram[1, 1]) ** 0.5)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    kernel = MarginalizedGraphKernel(
        TensorProduct(
            AtomicNumber=KroneckerDelta(0.3, (0.1, 1.0)),
            AtomicNumber_list_1=Convolution(KroneckerDelta(1 / 3)),
            Hcount=SquareExponential(2.5, (1.0, 9.0)),
        ),
        Additive(Order=Constant(0.2), Stereo=KroneckerDelta(0.4)),
        p=Constant(0.5),
        q=Constant(0.02, (0.01, 0.5)),
    )
    path = tmp_path / "kernel.json"
    path.write_text(kernel.to_json())
    assert MarginalizedGraphKernel.from_json(path) == kernel
    kernel.nodes = TensorProduct(Ring_count=Convolution(Constant(0.5)))
    with pytest.raises(ConfigError, match="has no name for Convolution"):
        kernel.to_json()


@pytest.mark.data("alkanes")
def test_the_published_file_is_read_unchanged() -> None:
    kernel = MarginalizedGraphKernel.from_json(catalogue.fetch("alkanes") / "data" / "tMGR.json")
    assert len(kernel.nodes.parts) == 12
    assert {part.value for part in kernel.nodes.parts.values()} == {0.75, 0.9}
    assert kernel.scale is not None
    assert (kernel.scale.value, kernel.q.value, kernel.p.value) == (100, 0.01, 1.0)
    assert MarginalizedGraphKernel.published() == kernel


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"q": None}, "kernel.json has no entry 'q'"),
        ({"q": [2, "free"]}, r"kernel.json: q must be a list \[value"),
        ({"q": [-0.5, "fixed"]}, "kernel.json: q: The value of Constant must be >= 0, got -0.5"),
        ({"a_type": ["Mean", "fixed"]}, "a_type must be one of Tensorproduct, Additive in a list"),
        ({"atom_AtomicNumber": {"kRBF": [1, "fixed"]}}, "atom_AtomicNumber must be one of kDelta, kSE, kConv, kC"),
        ({"atom_AtomicNumber": {"kDelta": [1.5, "fixed"]}}, r"h of KroneckerDelta must be in \[0, 1\], got 1.5"),
        ({"atom_AtomicNumber": {"kDelta": [0.8, [0.9, 0.5]]}}, "bounds of the h of KroneckerDelta must be 0 < low"),
        ({"bond_Order": None}, "has no entry bond_"),
        ({"probability_Hcount": {"Const_p": [1.0, "fixed"]}}, "must be one entry"),
        ({"probability_AtomicNumber": {"Assign_p": [1.0, "fixed"]}}, "must be Const_p"),
    ],
)
def test_a_broken_entry_is_named(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_hyperparameters(write(tmp_path, **changes))


@pytest.mark.parametrize("text", ["{", "[1, 2]", ""])
def test_a_file_that_is_no_such_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kernel.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"kernel.json (cannot be read|has no entry)"):
        read_hyperparameters(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_hyperparameters(tmp_path / "nothing.json")
