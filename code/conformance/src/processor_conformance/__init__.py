"""Judges any processor by the contract, over HTTP, whatever language it is written in."""

__version__ = "1.0.0"
