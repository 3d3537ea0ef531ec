"""A host's artifacts folder, and an execution that wrote two outputs into it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from processor_runtime.prefix import INPUTS, Roots

PREFIX = "/artifacts/outputs/e1/"


@dataclass
class Written:
    """An execution that settled: its files, and the envelope that names them."""

    root: Path
    contents: dict[str, bytes] = field(default_factory=lambda: {"a.txt": b"alpha", "deep/er/b.bin": b"\0beta"})

    def __post_init__(self) -> None:
        self.folder = self.root / "outputs" / "e1"
        self.folder.mkdir(parents=True)
        for name, content in self.contents.items():
            path = self.folder / "outputs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.envelope: dict[str, Any] = {
            "status": "success",
            "execution_id": "e1",
            "outputs": [
                {
                    "path": f"{PREFIX}outputs/{name}",
                    "mime": "a/b",
                    "size_bytes": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
                for name, content in self.contents.items()
            ],
            "index_path": f"{PREFIX}outputs.json",
        }
        self.index(self.envelope["outputs"])

    def index(self, rows: object, execution_id: str = "e1") -> None:
        """Write the index."""
        (self.folder / "outputs.json").write_text(json.dumps({"execution_id": execution_id, "outputs": rows}), "utf-8")

    def output(self, name: str) -> Path:
        """Return where an output lies."""
        return self.folder / "outputs" / name


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Return what stands for `/artifacts`."""
    return Roots.of("/artifacts", INPUTS, str(tmp_path / "artifacts"))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Return an execution whose files are as its envelope says."""
    return Written(tmp_path / "artifacts")
