"""Revisions of our tables, one file each, which follows the one before it."""
