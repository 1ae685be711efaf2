"""Plug-ins: Python files of this machine's user that add members to the tables of this process.

They are named by `--plugin`, NAS_PLUGIN or `nas_service.plugin` alone. A store or a study file
holds names and hashes of plug-ins, and nothing opens a file of such a name.
"""

import hashlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from nas_service.errors import SpecError
from nas_service.metrics import (
    METRICS,
    PROXY,
    Evaluation,
    Metric,
    hardware_metric,
    proxy_metric,
)
from nas_service.study.member_checks import check_name, depends_on_chip, is_finite
from nas_service.study.members import KINDS, Kind

VARIABLE = "NAS_PLUGIN"  # paths, separated as those of PATH; processes that this one starts read it
LARGEST_B = 2**20  # of a file
MESSAGE = 300  # characters of a plug-in's own error

Tables = dict[str, dict[str, Any]]  # by word of the kind
PLACES = {kind.word: kind for kind in KINDS}


@dataclass(frozen=True)
class Plugin:
    """A file that was loaded."""

    path: Path
    text: bytes = field(repr=False)
    digest: str  # SHA-256 of its text, in hexadecimal digits
    members: Mapping[str, frozenset[str]]  # that it added, by word of the kind


LOADED: list[Plugin] = []
STAND_INS: set[tuple[str, str]] = set()  # kind and name of members whose plug-in is not loaded


def load_named(environment: Mapping[str, str]) -> None:
    """Loads the plug-ins that the environment names; see `load`."""
    load_all(filter(None, environment.get(VARIABLE, "").split(os.pathsep)))


def load_all(paths: Iterable[str | Path]) -> None:
    """Loads plug-ins in their order; see `load`."""
    for path in paths:
        load(path)


def load(path: str | Path) -> Plugin:
    """Runs a plug-in and takes its members into the tables; one that is loaded is not run again.

    Processes that this one starts load the same plug-ins.

    Args:
        path: The file.

    Returns:
        The plug-in.

    Raises:
        SpecError: The file cannot be read, fails, or adds a member that is not possible. The tables
            are as before.
    """
    place = Path(os.path.abspath(path))
    if os.pathsep in str(place) or not str(place).isprintable():
        raise SpecError(f"plug-in {str(place)!r:.200}: a path without {os.pathsep!r} is needed")
    text = _read(place)
    digest = hashlib.sha256(text).hexdigest()
    for plugin in LOADED:
        if plugin.digest == digest:
            return plugin
        if plugin.path == place:
            raise SpecError(f"plug-in {place}: was changed since this process loaded it")
    plugin = Plugin(place, text, digest, _run(place, text, digest))
    LOADED.append(plugin)
    os.environ[VARIABLE] = os.pathsep.join(str(p.path) for p in LOADED)
    return plugin


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise SpecError(f"plug-in {path}: not a file")
        text = path.read_bytes()
    except OSError as error:
        raise SpecError(f"plug-in {path}: cannot be read ({error.strerror})") from None
    if len(text) > LARGEST_B:
        raise SpecError(f"plug-in {path}: {len(text)} bytes, at most {LARGEST_B} are read")
    return text


def _run(path: Path, text: bytes, digest: str) -> Mapping[str, frozenset[str]]:
    """Runs a plug-in; returns the names of its members by kind."""
    before, stand_ins, name = tables(), set(STAND_INS), f"nas_plugin_{digest[:16]}"
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    try:
        try:
            exec(compile(text, path, "exec"), vars(module))  # noqa: S102  its user named it here
        except (Exception, SystemExit) as error:
            raise SpecError(described(error, path)) from error
        members = _members(before, path)
    except BaseException as error:
        del sys.modules[name]
        restore(before)
        STAND_INS.update(stand_ins)
        if isinstance(error, SpecError):
            raise SpecError(f"plug-in {path}: {error}") from error
        raise
    METRICS.update({n: _finite(n, METRICS[n], path) for n in members["metric"]})
    sources = PLACES["data set"].table
    sources.update({n: _versioned(sources[n], digest) for n in members["data set"]})
    return members


def _finite(name: str, metric: Metric, path: Path) -> Metric:
    """The metric, which fails where it would return something else than a finite number."""

    def checked(function: Callable[[Evaluation], float | None]) -> Callable[[Evaluation], Any]:
        def call(evaluation: Evaluation) -> float | None:
            value = function(evaluation)
            if value is None or is_finite(value):
                return None if value is None else float(value)
            text = f"{value!r:.60}: a finite number is needed"
            raise SpecError(f"plug-in {path}: metric {name!r} is {text}")

        return call

    value, fallback = checked(metric.value), checked(metric.fallback)
    of_chip = metric.of_chip or (not metric.costed and depends_on_chip(metric))
    return replace(metric, of_chip=of_chip, value=value, fallback=fallback)


def _versioned(source: Any, digest: str) -> Any:
    """The data set, whose samples in the cache are only those that this version has read."""
    if not is_dataclass(source) or isinstance(source, type) or not hasattr(source, "decoder"):
        return source
    return replace(source, decoder=f"{source.decoder} {digest}")


def _members(before: Tables, path: Path) -> Mapping[str, frozenset[str]]:
    """Names of what was added; SpecError for what is not possible."""
    members: dict[str, frozenset[str]] = {}
    for kind in KINDS:
        if kind.word == "metric":
            _add_derived(members)
        members[kind.word] = _added(kind, before[kind.word])
    if not any(members.values()):
        raise SpecError("adds no member to any table")
    for kind in KINDS:
        for name in sorted(members[kind.word], key=str):
            _check(kind, name)
    return members


def _added(kind: Kind, before: Mapping[str, Any]) -> frozenset[str]:
    """Names of the new entries of a table."""
    if missing := before.keys() - kind.table.keys():
        raise SpecError(f"removes the {kind.word} {min(missing)!r}")
    changed = [n for n, entry in kind.table.items() if n not in before or entry is not before[n]]
    for name in changed:
        if name in before and (kind.word, name) not in STAND_INS:
            raise SpecError(f"{kind.word} {name!r} exists: {_origin(kind, name)} has it")
    STAND_INS.difference_update((kind.word, name) for name in changed)
    return frozenset(changed)


def _origin(kind: Kind, name: str) -> str:
    owners = (str(p.path) for p in LOADED if name in p.members[kind.word])
    return f"plug-in {path}" if (path := next(owners, None)) else "nas_service"


def _add_derived(members: Mapping[str, frozenset[str]]) -> None:
    """Adds the metrics that follow from hardware metrics and proxies, as they do from ours."""
    hardware = {n: PLACES["hardware metric"].table[n] for n in members["hardware metric"]}
    for name, entry in hardware.items():
        if name in METRICS and METRICS[name].trained:
            raise SpecError(f"metric {name!r} exists: {_origin(PLACES['metric'], name)} has it")
        METRICS[name] = hardware_metric(name, entry)
    METRICS.update({PROXY + name: proxy_metric(name) for name in members["proxy"]})


def _check(kind: Kind, name: str) -> None:
    try:
        if kind.word != "metric" or not str(name).startswith(PROXY):
            check_name(name)
        kind.check(name, kind.table[name])
    except SpecError as error:
        raise SpecError(f"{kind.word} {name!r:.80}: {error}") from error


def tables() -> Tables:
    """Copies of all tables, for `restore`."""
    return {kind.word: dict(kind.table) for kind in KINDS}


def restore(before: Tables) -> None:
    """Gives all tables the entries that they had."""
    for kind in KINDS:
        kind.table.clear()
        kind.table.update(before[kind.word])


def described(error: BaseException, path: Path) -> str:
    """An error of a plug-in in one line, with the last line of its file that led to it.

    Args:
        error: The error, as it was caught.
        path: The plug-in's file.

    Returns:
        `line 3: ValueError: its text`.
    """
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)
    if line is None and isinstance(error, SyntaxError):
        line, error = error.lineno, type(error)(error.msg)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{'' if line is None else f'line {line}: '}{text:.{MESSAGE}}"


def failure(error: BaseException) -> str | None:
    """The line that explains an error in the code of a plug-in; None for any other error."""
    names = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    for plugin in LOADED:
        if str(plugin.path) in names:
            return f"plug-in {plugin.path}: {described(error, plugin.path)}"
    return None
