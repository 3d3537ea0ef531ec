"""Adapters: each carries payloads to one kind of host, and envelopes back. They transport, and decide nothing.

Nothing is imported here: a run loads the one adapter that it uses.
"""
