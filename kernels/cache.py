"""Where files are kept that can be made or fetched again."""

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """minicnn/NAME in the user's cache: $XDG_CACHE_HOME or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of XDG_CACHE_HOME says to pass over relative paths.
    return (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "minicnn" / name
