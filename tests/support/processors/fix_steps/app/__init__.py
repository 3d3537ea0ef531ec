"""A processor for tests."""
