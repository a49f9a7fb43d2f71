from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modicum.core.catalogue.proof import tree_hash


@given(st.dictionaries(st.text(min_size=1), st.from_regex("[0-9a-f]{64}", fullmatch=True)), st.randoms())
def test_the_tree_hash_does_not_depend_on_the_order(members, random) -> None:
    rows = list(members.items())
    random.shuffle(rows)
    assert tree_hash(dict(rows)) == tree_hash(members)
