"""The processor doc/ocr@1. In its image only `app/` exists; this file lets the linters see it."""
