"""Liquids of alkanes by molecular dynamics: TraPPE-UA in OpenMM, without anything that needs a licence.

A molecule becomes groups of the force field (`trappe`), many of them a dilute box (`box`) and an OpenMM system
(`system`); the box is compressed and sampled (`simulation`), the series are judged (`analysis`), and `OpenMMLabeller`
makes a label of it.
"""

from __future__ import annotations

from modicum.molecules.liquid.labeller import OpenMMLabeller as OpenMMLabeller
