"""Where the neurons' C++ library is built and kept. Loads no torch."""

import shutil
from collections.abc import Mapping
from pathlib import Path

COMPILERS = ("g++", "clang++", "c++")


def find_compiler() -> str | None:
    """The first C++ compiler on the user's path; None where there is none."""
    return next((path for name in COMPILERS if (path := shutil.which(name))), None)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The folder of built libraries: NAS_CACHE, else the user's cache folder.

    Args:
        environment: The environment variables.

    Returns:
        The folder, which need not exist.
    """
    if configured := environment.get("NAS_CACHE"):
        return Path(configured) / "neurons"
    user = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user) / "nas-service" / "neurons"
