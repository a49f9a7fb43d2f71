"""GPR-MGK as the floor sees it: its question, its arms and its sources."""

from __future__ import annotations

from modicum.core.method import Arm, Comparison, Method, Metric, Option, Source
from modicum.molecules import arms

_COMPARISON = Comparison(
    method="gprmgk",
    question="Does active learning with the graph kernel pick better molecules to label than chance?",
    metric=Metric(name="R2 of the test rows", digits=4),
    arms=(
        Arm(name="random", role="baseline", run=arms.random, summary="molecules at random"),
        Arm(
            name="active learning",
            role="method",
            run=arms.active_learning,
            summary="greedily the molecule of largest posterior deviation under the graph kernel",
        ),
        Arm(
            name="uniform per size",
            role="control",
            run=arms.per_size,
            summary="equally many of each number of atoms: is it only that small molecules are seen, too?",
        ),
    ),
    beside=(
        Metric(name="mean absolute error", higher_is_better=False),
        Metric(name="R2 of molecules", digits=4),
        Metric(name="largest deviation", higher_is_better=False),
        Metric(name="R2 by experiment", digits=4),
    ),
    costs=(Metric(name="labelled molecules", higher_is_better=False, digits=0),),
    options=(
        Option(
            name="quantity",
            default={"demo": "density", "full": "density"},
            help="density (kg/m3), hvap (kJ/mol), cp (J/mol/K), or with --data any of its columns",
        ),
        Option(
            name="labels",
            default={"demo": "15", "full": "0"},
            help="molecules to label; 0 with the published sets, which have 313, 301 and 308",
        ),
        Option(
            name="predictor",
            default={"demo": "gp", "full": "gp"},
            help="gp (the Gaussian process) or dmpnn (the network of the paper)",
        ),
        Option(name="epochs", default={"demo": "100", "full": "100"}, help="of the network"),
        Option(
            name="test",
            default={"demo": "experiment", "full": "simulation"},
            help="simulation (the published 2,988 molecules) or experiment (measured alkanes)",
        ),
    ),
    data={
        "demo": "measured liquid densities of 67 alkanes up to C9 (package chemicals); a third is held out by the seed",
        "full": "alkanes: published simulations of about 310 molecules for each rule and draw; seeds 0, 1 and 2",
    },
    own_data="A CSV table with the columns smiles, T (K, if the quantity has one) and the quantity; a third of its "
    "molecules is held out.",
)

METHOD = Method(
    name="gprmgk",
    title="GPR-MGK: active learning over molecules with a marginalized graph kernel",
    saves="simulations",
    sources=(
        Source(
            authors="Xiang, Tang, Gong, Liu, Wu, Lin and Sun",
            year=2024,
            title="Efficient Exploration of Chemical Compound Space Using Active Learning for Prediction of "
            "Thermodynamic Properties of Alkane Molecules",
            address="https://arxiv.org/abs/2209.00514",
        ),
        Source(
            authors="Tang and de Jong",
            year=2019,
            title="Prediction of atomization energy using graph kernel and active learning",
            address="https://doi.org/10.1063/1.5078640",
        ),
        Source(
            authors="Xiang and others",
            year=2023,
            title="ALMS, commit 8db99ca: code, labels, predictions and hyper-parameters",
            address="https://github.com/Xiangyan93/ALMS",
        ),
    ),
    comparison=_COMPARISON,
)
