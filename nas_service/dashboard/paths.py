"""Which paths are those of our own pages."""

import re

OWN = re.compile(r"/|/compare|/page\.(css|js)|/studies(/.*)?", re.DOTALL)


def is_own(path: str) -> bool:
    """True for the path of one of our pages; all others are optuna-dashboard's."""
    return OWN.fullmatch(path) is not None
