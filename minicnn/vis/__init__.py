"""Looking inside a network."""

from .activations import activations

__all__ = ["activations"]
