"""doc/ocr@1: text, layout and pictures with boxes from the pages of a document."""
