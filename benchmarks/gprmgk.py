"""Time the graph kernel against other solvers, and the lazy selection against refitting at every step.

Run: python benchmarks/gprmgk.py [--part kernel|selection|labels|worst] [--json]

Kernel: pairs of alkanes of --carbons atoms a second. Peers are a dense solve (numpy) and conjugate gradients (scipy,
the same preconditioner and the same relative tolerance) of the same linear system; both are given the node kernels,
which ours computes itself. Selection: the same pool, start and rule; the peer is the Gaussian process of scikit-learn
with the same kernel, fitted anew on the selected molecules at every step. Both must pick the same molecules in the
same order, or the benchmark fails. All in one process, in turns; the medians of the rounds are given.
Labels, only if asked for: how good the published simulated labels are by experiment, by a quadratic in T
at the temperature of the experiment. Worst, likewise: the ten molecules whose density a network that was trained on the
published set of each rule misses most by experiment. Both need the data of the catalogue.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from scipy.sparse import csr_array, diags_array, kron
from scipy.sparse.linalg import cg
from sklearn.gaussian_process import GaussianProcessRegressor

from modicum.core.environment import this_run
from modicum.core.seeding import numpy_generator
from modicum.molecules.data.alkanes import enumerate_alkanes
from modicum.molecules.data.published import experimental_labels, published_labels
from modicum.molecules.data.smiles import canonical
from modicum.molecules.data.table import PropertyTable, Quantity
from modicum.molecules.kernel.features import ATOM_ATTRIBUTES, molecule_graph
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel
from modicum.molecules.predict.dmpnn import DMPNN
from modicum.molecules.predict.scores import score
from modicum.molecules.select.learner import ActiveLearner

TOLERANCE = 1e-9
RULES = ("", "random", "nheavy")  # as the published files are called
WORST = 10


def adjacency(smiles: str) -> np.ndarray:
    """Give the adjacency matrix of a molecule."""
    graph = molecule_graph(smiles)
    matrix = np.zeros((len(graph.atoms),) * 2)
    for first, second, _ in graph.bonds:
        matrix[first, second] = matrix[second, first] = 1
    return matrix


def node_kernel(kernel: MarginalizedGraphKernel, first: str, second: str) -> np.ndarray:
    """Give the node kernel of two molecules, shape (n, m)."""
    columns = [
        [atom[place] for atom in molecule_graph(smiles).atoms] for smiles in (first, second) for place in range(12)
    ]
    tables = [
        part.table(columns[ATOM_ATTRIBUTES.index(name)], columns[12 + ATOM_ATTRIBUTES.index(name)])
        for name, part in kernel.nodes.parts.items()
    ]
    return np.prod(tables, axis=0)


def system(
    first: np.ndarray, second: np.ndarray, nodes: np.ndarray, q: float
) -> tuple[csr_array, np.ndarray, np.ndarray]:
    """Give W (sparse), the diagonal of D V^-1, and D of the product graph; the edge kernel of alkanes is 1."""
    degree = np.outer(first.sum(1), second.sum(1)).ravel() / (1 - q) ** 2
    return csr_array(kron(csr_array(first), csr_array(second))), degree / nodes.ravel(), degree


def solve_dense(walk: csr_array, diagonal: np.ndarray, degree: np.ndarray) -> float:
    """Solve by LU of the whole matrix."""
    return float(np.linalg.solve(np.diag(diagonal) - walk.toarray(), degree).sum())


def solve_scipy(walk: csr_array, diagonal: np.ndarray, degree: np.ndarray) -> float:
    """Solve by the conjugate gradients of scipy."""
    matrix = diags_array(diagonal) - walk
    solution, failed = cg(matrix, degree, rtol=TOLERANCE, M=diags_array(1 / diagonal))
    assert not failed
    return float(solution.sum())


def time_kernel(options: argparse.Namespace) -> dict[str, Any]:
    """Time all solvers on random pairs, and check that they agree."""
    kernel = MarginalizedGraphKernel.published(normalize=False, tolerance=TOLERANCE)
    pool = [*enumerate_alkanes(options.carbons, options.carbons)]
    random = numpy_generator(0, "pairs")
    chosen = [pool[place] for place in random.choice(len(pool), size=options.molecules, replace=False)]
    prepared = kernel.prepare(chosen)
    few = prepared.take(range(options.columns))
    kernel(few)  # compilation
    pairs = [(first, second) for first in range(options.peer_pairs) for second in range(1)]
    systems = [
        system(adjacency(chosen[a]), adjacency(chosen[b]), node_kernel(kernel, chosen[a], chosen[b]), kernel.q.value)
        for a, b in pairs
    ]
    block = kernel(prepared, few)
    rates: dict[str, list[float]] = {"ours": [], "dense": [], "scipy": []}
    for _ in range(options.rounds):
        rates["ours"].append(block.size / seconds(lambda: kernel(prepared, few)))
        for name, solve in (("dense", solve_dense), ("scipy", solve_scipy)):
            found: list[float] = []
            rates[name].append(len(pairs) / seconds(lambda: found.extend(solve(*entry) for entry in systems)))  # noqa: B023
            np.testing.assert_allclose(found, [block[pair] for pair in pairs], rtol=1e-7)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        peer: statistics.median(mine / other for mine, other in zip(rates["ours"], rates[peer], strict=True))
        for peer in ("dense", "scipy")
    }
    return {"pairs_per_second": middle, "ratio": ratios}


def seconds(function: Callable[[], Any]) -> float:
    """Time one call by the clock: ours runs on several threads."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def refit(
    kernel: MarginalizedGraphKernel, pool: list[str], start: list[int], threshold: float, noise: float
) -> list[int]:
    """Select with scikit-learn: fit on the selected molecules, predict the pool, take the most uncertain one."""
    picks = [*start]
    while True:
        process: Any = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)  # pyright: ignore[reportArgumentType]
        process.fit([pool[place] for place in picks], np.zeros(len(picks)))
        deviation = np.asarray(process.predict(pool, return_std=True)[1])
        variance = np.square(deviation)
        variance[picks] = 0
        if np.sqrt(variance.max()) < threshold:
            return picks
        picks.append(int(np.flatnonzero(variance >= variance.max() - 1e-12)[0]))


def time_selection(options: argparse.Namespace) -> dict[str, Any]:
    """Time the selection from all alkanes of four to --largest carbons, features and kernel included."""
    pool = [*enumerate_alkanes(4, options.largest)]
    start = [0, len(pool) - 1]
    mine, theirs = [], []
    picks: list[int] = []
    for _ in range(options.selection_rounds):
        kernel = MarginalizedGraphKernel.published(tolerance=TOLERANCE)
        learner = ActiveLearner(kernel, pool, noise=0.01, start=start)
        mine.append(seconds(lambda: picks.__setitem__(slice(None), learner.run(options.uncertainty).picks)))  # noqa: B023
        others: list[int] = []
        theirs.append(seconds(lambda: others.extend(refit(kernel, pool, start, options.uncertainty, 0.01))))  # noqa: B023
        assert list(picks) == others, "the picks differ"
    return {
        "pool": len(pool),
        "picks": len(picks),
        "seconds": {"ours": statistics.median(mine), "refit": statistics.median(theirs)},
        "ratio": statistics.median(other / own for own, other in zip(mine, theirs, strict=True)),
    }


def judge_labels() -> dict[str, Any]:
    """Score the labels of the sets of the threshold 0.5 by experiment, where a molecule has both."""
    results: dict[str, Any] = {}
    for quantity in ("density", "hvap"):
        measured = experimental_labels(quantity)
        simulated = simulated_at(measured, quantity)
        value = dict(zip(measured.smiles, measured.value.tolist(), strict=True))
        label, known = np.array([*simulated.values()]), np.array([value[smiles] for smiles in simulated])
        found = score(label, known)
        rmse = float(np.sqrt(np.mean((label - known) ** 2)))
        results[quantity] = {"molecules": found.count, "r2": found.r2, "rmse": rmse, "mae": found.mae}
    return results


def simulated_at(measured: PropertyTable, quantity: Quantity) -> dict[str, float]:
    """Give the published label of each measured molecule that has one, at the temperature of the experiment."""
    at = dict(zip(measured.smiles, measured.temperature.tolist(), strict=True))
    simulated: dict[str, float] = {}  # of the first set that has a molecule
    for name in (f"0.5_{rule}{draw}" for rule in RULES for draw in range(3)):
        table = published_labels(name, quantity)
        for smiles in table.molecules:
            if (spelt := canonical(smiles)) in at and spelt not in simulated:
                rows = table.of(frozenset({smiles}))
                curve = np.polyfit(rows.temperature - at[spelt], rows.value, 2)  # labels are such a curve in T
                simulated[spelt] = float(curve[-1])
    return simulated


def find_worst() -> dict[str, Any]:
    """Train a network on the first set of each rule, and tell what its densities are worst for by experiment."""
    measured = experimental_labels("density")
    simulated = simulated_at(measured, "density")
    results: dict[str, Any] = {}
    for rule in RULES:
        network = DMPNN().fit(published_labels(f"0.5_{rule}0", "density"), seed=0)
        predicted = network.predict(measured.smiles, measured.temperature)
        order = np.argsort(-np.abs(predicted - measured.value))
        worst, rest = order[:WORST], order[WORST:]
        results[rule or "active"] = {
            "r2": score(predicted, measured.value).r2,
            "r2 without the worst": score(predicted[rest], measured.value[rest]).r2,
            "worst": [
                {
                    "smiles": measured.smiles[at],
                    "temperature": float(measured.temperature[at]),
                    "measured": float(measured.value[at]),
                    "predicted": float(predicted[at]),
                    "simulated": simulated.get(measured.smiles[at]),
                }
                for at in worst.tolist()
            ],
        }
    return results


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=["kernel", "selection", "labels", "worst"], help="the first two if not given")
    parser.add_argument("--carbons", type=int, default=19, help="atoms of the molecules whose kernel is timed")
    parser.add_argument("--molecules", type=int, default=2000, help="of them, each paired with --columns others")
    parser.add_argument("--columns", type=int, default=10, help="molecules of the other side")
    parser.add_argument("--peer-pairs", type=int, default=20, help="pairs that a peer solves in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the kernel")
    parser.add_argument("--largest", type=int, default=11, help="carbons of the largest molecules of the pool")
    parser.add_argument("--uncertainty", type=float, default=0.4, help="at which a selection ends")
    parser.add_argument("--selection-rounds", type=int, default=5, help="rounds of the selection")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    results: dict[str, Any] = {}
    if options.part == "labels":
        results["labels"] = judge_labels()
    if options.part == "worst":
        results["worst"] = find_worst()
    if options.part in (None, "kernel"):
        results["kernel"] = time_kernel(options)
    if options.part in (None, "selection"):
        results["selection"] = time_selection(options)
    if options.json:
        print(json.dumps({"environment": this_run(), "scipy": scipy.__version__, **vars(options), **results}, indent=2))
    else:
        tell(results)


def tell(results: dict[str, Any]) -> None:
    """Print what was measured in lines."""
    for quantity, found in results.get("labels", {}).items():
        print(quantity, ", ".join(f"{name} {value:.4g}" for name, value in found.items()))
    for rule, found in results.get("worst", {}).items():
        print(f"{rule}: R2 {found['r2']:.3f}, without the worst {found['r2 without the worst']:.3f}")
        for row in found["worst"]:
            label = "" if row["simulated"] is None else f", simulated {row['simulated']:.0f}"
            print(f"  {row['smiles']}: {row['predicted']:.0f}, measured {row['measured']:.0f}{label}")
    if kernel := results.get("kernel"):
        for name, rate in kernel["pairs_per_second"].items():
            ratio = f"{kernel['ratio'][name]:10,.0f}x" if name in kernel["ratio"] else ""
            print(f"{name:6} {rate:12,.0f} pairs/s {ratio}")
    if selection := results.get("selection"):
        own, other = selection["seconds"]["ours"], selection["seconds"]["refit"]
        counts = f"{selection['picks']} of {selection['pool']} picked"
        print(f"{counts}: {own:.2f} s, refitted {other:.2f} s, {selection['ratio']:.0f}x")


if __name__ == "__main__":
    main()
