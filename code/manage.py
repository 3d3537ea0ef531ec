#!/usr/bin/env python3
"""Django's door: `python manage.py <command>`, run from code/."""

import os
import sys


def main() -> None:
    """Run the command line with the development settings unless the environment names others."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.dev")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - after the settings are named

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
