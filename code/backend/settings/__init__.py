"""Settings, one module a surrounding: `dev`, `test`, `unittest` and `production`, each `base` and what it changes."""
