"""Measured crossbar chips, and the model of one crossbar that is held against them."""
