"""The path of an image from source to a pinned digest: built, stored, pinned, proved. Import from its modules."""
