#!/usr/bin/env python3
"""Django's door: `python manage.py <command>`, run from code/."""

import gc
import os
import sys
from importlib import import_module

# Django's own set-up imports its whole database layer, for the prefix of a URL: longer than a warm run takes. What has
# neither models nor routes goes without. `--settings` is Django's to read before anything else.
WITHOUT_SETUP = ("run_processor", "localctl")
OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> None:
    """Run the command line with the development settings unless the environment names others."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.dev")
    if sys.argv[1:2] and sys.argv[1] in WITHOUT_SETUP and not any("--settings" in word for word in sys.argv):
        # What an import makes stays: not to be looked at again for each few hundred objects
        gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
        try:
            import_module(f"apps.core.management.commands.{sys.argv[1]}").Command().run_from_argv(sys.argv)
        finally:
            gc.freeze()  # or the interpreter looks through all there is, twice, before it ends
        return
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - after the settings are named

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
