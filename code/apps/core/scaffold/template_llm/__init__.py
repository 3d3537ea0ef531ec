"""The processor `__REF__`."""
