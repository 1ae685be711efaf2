"""Revisions of our tables, each a file that leads from the one before it."""
