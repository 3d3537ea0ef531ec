"""Which processors the contract layer judges."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tests.support.service import FIXTURES, ROOT

OURS: Final = ROOT / "code" / "apps" / "core" / "processors"
# A processor that is not in the repository yet is judged by the same tests: CONTRACT_PROCESSORS=folder make test …
PROCESSORS: Final = Path(os.environ.get("CONTRACT_PROCESSORS", str(OURS)))
STEPS: Final = FIXTURES / "fix_steps"


def discovered() -> list[Path]:
    """Return the folder of each processor: by the listing, so that nobody has to remember to add one."""
    return sorted(path.parent for path in PROCESSORS.glob("*/registry.yaml"))


# the fixture too: it declares what the others happen not to (a GPU, fractions, two secrets, steps of any kind)
EVERY: Final = [*discovered(), STEPS]
