"""fix/box@1."""
