"""A processor for the conformance kit itself."""
