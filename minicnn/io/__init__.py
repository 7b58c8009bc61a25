"""Weights in files: one file of code for each format, all giving a dict of NumPy arrays by name."""

from .formats import load_state

__all__ = ["load_state"]
