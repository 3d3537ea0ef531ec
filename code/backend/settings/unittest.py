"""What pytest and steps of lanes run on: `test`, with records left to propagate, so that a test can look at them."""

from backend.settings.test import *

LOGGING = {"version": 1, "disable_existing_loggers": False}
