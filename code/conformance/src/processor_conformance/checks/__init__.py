"""The checks, one module per subject. `catalogue.catalogue` imports them all."""
