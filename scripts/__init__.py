"""Tools of the repository, each run by `make` as `python -m scripts.<name>` from its root."""
