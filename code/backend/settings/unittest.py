"""What pytest runs on: `test`, with Django's records left to propagate, so that a test can look at them."""

from backend.settings.test import *

LOGGING = {"version": 1, "disable_existing_loggers": False}
