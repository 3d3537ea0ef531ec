"""The kit judges implementations, so it must not stand on one."""

from __future__ import annotations

import subprocess
import sys


def test_the_kit_loads_neither_the_runtime_nor_django() -> None:
    """A kit that shared code with the runtime would share its faults."""
    code = (
        "import sys; from processor_conformance.catalogue import catalogue; catalogue();"
        "import processor_conformance.cli;"
        "print([name for name in sys.modules if name.split('.')[0] in {'processor_runtime', 'django', 'fastapi'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_plugin_costs_other_test_runs_nothing() -> None:
    """It is loaded in every run of pytest where the kit is installed; the checks are not."""
    code = "import sys; import processor_conformance.plugin; print('hypothesis' in sys.modules, 'h11' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False False"
