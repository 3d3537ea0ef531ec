"""The sample's code, as an image would hold it."""
