"""Adapters: each carries payloads to one kind of host, and envelopes back. They transport, and decide nothing.

Nothing is imported here: `scripts/` reads `process/package_index.py` before any dependency is installed.
"""
