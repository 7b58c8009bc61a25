"""The tape as a lesson."""

from .tape import tape_entries, tape_text

__all__ = ["tape_entries", "tape_text"]
