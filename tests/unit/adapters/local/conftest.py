"""One processor, and the plan of one container of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.core.adapters.local.container import Plan
from apps.core.adapters.local.folders import Mount
from apps.core.adapters.local.image import Image
from apps.core.adapters.local.labels import Labels
from apps.core.adapters.local.network import Network
from apps.core.adapters.local.owner import Owner
from apps.core.registry import Registration, load_registration
from processor_runtime.values import Digest
from tests.support.executions import FIXTURES, SECRET

DIGEST = Digest.parse("sha256:" + "a" * 64)

Planned = Callable[..., Plan]


@pytest.fixture
def registration() -> Registration:
    """Return `fix/box@1`, which is not pinned."""
    return load_registration(FIXTURES / "fix_box")


@pytest.fixture
def labels() -> Labels:
    """Return what a container of one mock run says about itself."""
    return Labels(
        kind="cold",
        ref="fix/box@1",
        mode="mock",
        digest=str(DIGEST),
        artifacts="/srv/artifacts",
        user="10001:10001",
        execution_id="e1",
        owner=Owner.here(),
    )


@pytest.fixture
def plan(registration: Registration, labels: Labels, tmp_path: Path) -> Planned:
    """Return what makes a plan, with changes: those of a label, of the registry's `runtime`, or of the plan itself."""
    base = Plan(
        registration=registration,
        image=Image("sha256:" + "b" * 64, DIGEST, pinned=True),
        labels=labels,
        network=Network("n1", "", published=False),
        mounts=(Mount(str(tmp_path), "/artifacts/outputs/e1"), Mount("/in", "/artifacts/inputs", read_only=True)),
        token="a-token-of-some-length",
        environ={"FIX_SECRET": SECRET, "CI": "1", "PATH": "/bin", "OTHER": "x"},
    )

    def planned(**changes: Any) -> Plan:
        names = {field.name for field in dataclasses.fields(Labels)} - {
            field.name for field in dataclasses.fields(Plan)
        }
        kept = {name: changes.pop(name) for name in set(changes) & names}
        runtime = changes.pop("runtime", {})
        declaration = dataclasses.replace(
            registration.declaration, runtime=dataclasses.replace(registration.declaration.runtime, **runtime)
        )
        return dataclasses.replace(
            base,
            labels=dataclasses.replace(labels, **kept),
            registration=dataclasses.replace(registration, declaration=declaration),
            **changes,
        )

    return planned
