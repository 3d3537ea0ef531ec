"""JSON values as Hypothesis makes them: every value that I-JSON (RFC 7493) has, and no other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

LARGEST = 2**53 - 1

scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-LARGEST, LARGEST),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.dictionaries(st.text(max_size=6), children, max_size=4),
    ),
    max_leaves=12,
)
objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(st.text(max_size=6), values, max_size=4)
