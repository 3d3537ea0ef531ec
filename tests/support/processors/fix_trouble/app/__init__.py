"""fix/trouble@1."""
