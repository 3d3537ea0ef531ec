"""Adapters that are not there yet say so, and what to use; nothing falls back in silence."""

from __future__ import annotations

import asyncio

import pytest

from apps.core.adapters.base import Adapter
from apps.core.adapters.modal import ModalAdapter
from processor_runtime.errors import ProcessorError


@pytest.mark.parametrize(
    ("adapter", "code"),
    [
        pytest.param(ModalAdapter(), "ERR_ENDPOINT_MISSING", id="modal"),
    ],
)
def test_the_error_names_the_adapter_to_use(adapter: Adapter, code: str) -> None:
    """A stable code, and a detail that can be followed."""
    with pytest.raises(ProcessorError) as refused:
        asyncio.run(adapter.run({}, timeout_s=1))

    assert refused.value.code == code
    assert "--adapter process" in refused.value.details[0]["message"]
