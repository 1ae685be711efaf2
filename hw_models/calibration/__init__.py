"""Fitting of a chip profile to measurements."""
