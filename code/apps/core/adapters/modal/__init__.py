"""Processors that are deployed on Modal.

Nothing is imported here: Modal's SDK takes longer to import than all else, and what needs it imports it late.
"""
