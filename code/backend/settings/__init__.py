"""Settings, one module a lane: `dev`, `test`, `unittest` and `production`, each `base` and what it changes."""
