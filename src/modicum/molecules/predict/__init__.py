"""Predictors of properties, and how good they are."""
