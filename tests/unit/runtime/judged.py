"""Rules over one folder, and what is asked of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processor_runtime.request import Refusal, Rules, RunRequest
from processor_runtime.schemas import compile_schema
from tests.unit.runtime.services import declared, set_for

CONTENT = b"a page"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = {"$artifact": "/artifacts/inputs/page.png", "sha256": SHA256}
INPUTS = {
    "type": "object",
    "required": ["schema", "params"],
    "additionalProperties": False,
    "properties": {"schema": {"const": "v1"}, "params": {"type": "object"}},
}
Judge = Callable[..., RunRequest]


class Judged:
    """Rules over one folder, with whatever a test changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}
        self.secrets: dict[str, str] = {"NEEDED_KEY": "value"}
        self.inputs: dict[str, Any] = INPUTS

    def rules(self) -> Rules:
        """Return the rules as they stand."""
        declaration = declared(inputs=self.inputs)
        return Rules(declaration, set_for(self.folder, **self.environ), self.secrets, compile_schema(self.inputs))

    def check(self, body: dict[str, Any] | bytes, trace_id: str | None = None) -> RunRequest:
        """Return the request, its files closed."""
        found = self.rules().check(body if isinstance(body, bytes) else json.dumps(body).encode(), trace_id)
        found.close()
        return found

    def refusal(self, body: dict[str, Any] | bytes) -> Refusal | None:
        """Return how *body* is refused, or `None` where it is not."""
        try:
            self.check(body)
        except Refusal as exc:
            return exc
        return None

    def refused(self, body: dict[str, Any] | bytes) -> Refusal:
        """Return how *body* is refused; it must be."""
        refusal = self.refusal(body)
        assert refusal is not None, "it was not refused"
        assert 1 <= len(refusal.error.details) <= 20
        return refusal

    def verdict(self, body: dict[str, Any] | bytes) -> tuple[str, str]:
        """Return code and message by which *body* is refused."""
        error = self.refused(body).error
        return str(error.code), error.text
