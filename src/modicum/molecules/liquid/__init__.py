"""Liquids of alkanes by molecular dynamics: TraPPE-UA in OpenMM, without anything that needs a licence."""
