"""fix/raw@1."""
