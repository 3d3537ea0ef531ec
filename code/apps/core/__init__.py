"""Processors, and everything that finds, runs and records them."""
