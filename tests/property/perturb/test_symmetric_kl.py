from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modicum.perturb.comparison import symmetric_kl

LOGITS = st.lists(st.floats(-20, 20), min_size=3, max_size=3)


@given(first=LOGITS, second=LOGITS, shift=st.floats(-20, 20))
def test_it_is_symmetric_and_no_less_than_0_and_ignores_what_a_softmax_ignores(
    first: list[float], second: list[float], shift: float
) -> None:
    p, q = (torch.tensor([logits], dtype=torch.float64) for logits in (first, second))
    value = symmetric_kl(p, q).item()
    assert value >= 0
    # Relative to the largest logit, float64 keeps some 14 digits here.
    assert symmetric_kl(q, p).item() == pytest.approx(value, abs=1e-12)
    assert symmetric_kl(p + shift, q).item() == pytest.approx(value, abs=1e-12)
    assert symmetric_kl(p, p).item() == 0
