"""The processor `doc/ocr@1`."""
