"""Our Django apps."""
