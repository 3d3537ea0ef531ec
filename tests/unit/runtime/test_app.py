"""What the app makes of its process while it serves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.unit.runtime.services import DIGEST, DOCUMENT

SERVES = """
import asyncio, gc, weakref
from processor_runtime import create_app
from app.handler import entry

class Leaf: ...

async def main():
    app = create_app(entry)
    async with app.router.lifespan_context(app):
        leaf = Leaf()
        leaf.itself, seen = leaf, weakref.ref(leaf)
        del leaf
        kept, made = [], 0
        while seen() is not None and made < 1_000_000:
            kept.append([])
            made += 1
        print(gc.isenabled(), gc.get_freeze_count() > 0, made)

asyncio.run(main())
"""


def test_cycles_are_still_collected_but_not_at_every_few_runs(tmp_path: Path) -> None:
    """Later than by default, when 700 new objects suffice, and not much later."""
    (tmp_path / "registry.yaml").write_text(json.dumps(DOCUMENT))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "handler.py").write_text(
        "from processor_runtime import processor\n@processor\ndef entry(run): ...\n"
    )
    environ: dict[str, Any] = {"IMAGE_DIGEST": DIGEST, "PYTHONPATH": str(tmp_path)}

    said = subprocess.run([sys.executable, "-c", SERVES], env=environ, capture_output=True, text=True, check=True)
    collects, frozen, made = said.stdout.split()

    assert (collects, frozen) == ("True", "True")
    assert 5_000 < int(made) < 20_000
