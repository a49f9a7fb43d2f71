from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from modicum.errors import ConfigError
from modicum.optim import NSGD


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": 0.0}, "lr must be > 0 and finite, got 0.0. Try lr=0.1"),
        ({"lr": float("nan")}, "lr must be > 0 and finite, got nan"),
        ({"lr": float("inf")}, "lr must be > 0 and finite, got inf"),
        ({"momentum": -0.5}, "momentum must be >= 0 and finite, got -0.5. Set momentum"),
        ({"weight_decay": float("nan")}, "weight_decay must be >= 0 and finite, got nan"),
        ({"eps": -1e-8}, "eps must be >= 0 and finite, got -1e-08"),
        ({"dampening": float("nan")}, "dampening must be finite, got nan. Set dampening"),
        ({"max_norm": 0.0}, "max_norm must be > 0 and finite, got 0.0. Set max_norm to None"),
        ({"max_norm": -1.0}, "max_norm must be > 0 and finite, got -1.0"),
        ({"lr": "1e-3"}, "lr must be a number, got '1e-3'. YAML reads"),
        ({"momentum": None}, "momentum must be a number, got None"),
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0. Set beta"),
        ({"beta": -0.1}, r"beta must be in \[0, 1\), got -0.1"),
        ({"norm": "l3"}, "norm must be one of l1, l2, got 'l3'. Set norm"),
        ({"reduce": "map"}, "reduce must be one of batch, channel, sample, got 'map'"),
        ({"denominator": "sqrt"}, "denominator must be one of power, log, got 'sqrt'"),
        ({"nesterov": True}, "Nesterov momentum needs momentum > 0 and dampening 0, got 0 and 0. Set both"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "got 0.9 and 0.1"),
        ({"reduce": "sample", "beta": 0.5}, 'reduce="sample" has no moving average of the power, got beta 0.5'),
        ({"denominator": "log", "eps": 0.0}, 'denominator="log" needs eps > 0'),
    ],
)
def test_setting_out_of_range_is_refused_with_its_value(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        NSGD(nn.Linear(2, 2), **{"lr": 0.1, **settings})


@pytest.mark.parametrize(
    ("reduce", "group", "words"),
    [
        ("batch", {"norm": "l1"}, "have norm 'l2', but one has 'l1'. Leave norm out"),
        ("batch", {"eps": -1.0}, "eps must be >= 0"),
        ("sample", {"eps": 0.5}, "have eps 0.01, but one has 0.5"),
        ("sample", {"denominator": "log"}, "have denominator 'power', but one has 'log'"),
    ],
)
def test_group_that_cannot_be_honoured_is_refused(reduce: Any, group: dict[str, Any], words: str) -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=words):
        NSGD(layer, lr=0.1, reduce=reduce, params=[{"params": layer.parameters(), **group}])
