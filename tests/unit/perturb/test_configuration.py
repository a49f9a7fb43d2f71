from __future__ import annotations

import math
from typing import Any

import pytest

from modicum.errors import ConfigError
from modicum.perturb import HyPeConfig


@pytest.mark.parametrize("sigma", [-1e-5, math.nan, math.inf])
def test_a_sigma_that_is_no_size_is_refused(sigma: float) -> None:
    with pytest.raises(ConfigError, match=rf"sigma must be a finite number >= 0, but it is {sigma}\. Begin with 1e-5"):
        HyPeConfig(sigma=sigma)


# HYPE-C12
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise": "norml"}, r"noise must be one of normal, .*but it is 'norml'\. Did you mean 'normal'\?"),
        ({"noise": "cauchy"}, r"but it is 'cauchy'\. Use 'normal', the default"),
        ({"sigma_mode": "relativ"}, r"sigma_mode must be one of absolute, relative, .*Did you mean 'relative'\?"),
        ({"backend": "has"}, r"backend must be one of hash, torch, but it is 'has'"),
        ({"layers": "upper:2"}, r"'low:k' or a list of integers, but it is 'upper:2'\. Use 'top:4'"),
        ({"layers": "top:0"}, r"but it is 'top:0'"),
        ({"layers": []}, r"at least one, but it is \[\]\. Count the layers from 0"),
        ({"layers": [1, 1]}, r"different integers >= 0, .*\[1, 1\]"),
        ({"layers": [-1]}, r"\[-1\]"),
        ({"layers": [1.5]}, r"\[1.5\]"),
        ({"layers": 3}, r"layers must list different integers >= 0, at least one, but it is 3\. Count"),
        ({"layers": None}, r"but it is None\. Count the layers"),
        ({"layers": [[0]]}, r"but it is \[\[0\]\]"),
        ({"noise": None}, r"noise must be one of .* but it is None"),
        ({"seed": -1}, r"seed must be in \[0, 2\*\*63\), but it is -1\. Use a small number"),
        ({"seed": 2**63}, r"seed must be in"),
    ],
)
def test_a_misspelt_choice_is_refused_with_the_nearest(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HyPeConfig(**settings)
