"""Measures the runtime beside its peers and its limits: `python -m bench`, called by `make bench`."""
