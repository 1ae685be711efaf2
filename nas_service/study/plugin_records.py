"""What a study, or an exported network, records of the plug-ins whose members it uses."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nas_service.errors import SpecError
from nas_service.metrics import METRICS, PROXY, proxy_metric
from nas_service.study.member_checks import check_name
from nas_service.study.members import Kind
from nas_service.study.plugins import LOADED, PLACES, STAND_INS
from nas_service.study.spec import StudySpec

SHOWN = 16  # digits of a hash in messages
MOST = 64  # plug-ins of a study, and members of a kind
REMEDY = "--plugin FILE or NAS_PLUGIN=FILE gives it"
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PluginRecord:
    """A plug-in that a study uses: its name is for people, and no file of that name is opened."""

    name: str  # of the file, without its folder
    digest: str  # SHA-256
    members: dict[str, dict[str, Any]] = field(default_factory=dict)  # facts by kind and name

    def __str__(self) -> str:
        return f"plug-in {self.name} (sha256 {self.digest[:SHOWN]}...)"

    @property
    def is_loaded(self) -> bool:
        """True where this process has loaded exactly this text."""
        return any(plugin.digest == self.digest for plugin in LOADED)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {"name": self.name, "sha256": self.digest, "members": self.members}


def records_of(spec: StudySpec) -> list[PluginRecord]:
    """The plug-ins whose members a study names.

    Args:
        spec: The study.

    Returns:
        Their records.

    Raises:
        SpecError: It names a member that is only known from the results of another study.
    """
    named = {word: frozenset(kind.named(spec)) for word, kind in PLACES.items()}
    for word, name in sorted(STAND_INS):
        if name in named[word]:
            raise SpecError(f"{word} {name!r}: its plug-in is needed, {REMEDY}")
    records = []
    for plugin in LOADED:
        used = {word: sorted(names & plugin.members[word]) for word, names in named.items()}
        facts = {word: _facts(PLACES[word], names) for word, names in used.items() if names}
        if facts:
            records.append(PluginRecord(plugin.path.name, plugin.digest, facts))
    return records


def _facts(kind: Kind, names: Iterable[str]) -> dict[str, Any]:
    return {name: kind.facts(kind.table[name]) for name in names}


def read_records(stored: object) -> list[PluginRecord]:
    """The inverse of `PluginRecord.to_json`, for a list of records; nothing is trusted.

    Args:
        stored: JSON values; None for no record.

    Returns:
        The records.

    Raises:
        SpecError: It is something else.
    """
    if stored is None:
        return []
    try:
        records = [_record(n, one) for n, one in enumerate(_short(stored, list, "the record"))]
    except ValueError as error:
        raise SpecError(f"has a damaged record of its plug-ins ({error!s:.120})") from None
    return records


def _record(number: int, stored: Any) -> PluginRecord:
    """One entry of the record; ValueError says what of it is damaged."""
    place = f"entry {number}"
    entry = _short(stored, dict, place)
    if missing := [key for key in ("name", "sha256", "members") if key not in entry]:
        raise ValueError(f"{place}: {missing[0]} is missing")
    name, digest = entry["name"], entry["sha256"]
    if not isinstance(name, str) or not 1 <= len(name) <= 255 or not name.isprintable():
        raise ValueError(f"{place}: name is {name!r:.40}, that of a file is needed")
    if not isinstance(digest, str) or not HASH.fullmatch(digest):
        raise ValueError(f"{place}: sha256 is {digest!r:.40}, 64 hex digits are needed")
    members = {
        word: _short(facts, dict, f"{place}: members: {word}")
        for word, facts in _short(entry["members"], dict, f"{place}: members").items()
        if word in PLACES
    }
    return PluginRecord(name, digest, members)


def _short(value: Any, kind: type, place: str) -> Any:
    if not isinstance(value, kind) or len(value) > MOST:  # type: ignore[arg-type]
        word = "table" if kind is dict else "list"
        raise ValueError(f"{place}: a {word} of at most {MOST} entries is needed")
    return value


def demand(records: Iterable[PluginRecord]) -> None:
    """Refuses to work where a plug-in is not loaded, or another version of it.

    Args:
        records: What was recorded.

    Raises:
        SpecError: Names the plug-in, its hash and how to give it.
    """
    for record in records:
        if record.is_loaded:
            continue
        other = next((p for p in LOADED if p.path.name == record.name), None)
        if other is not None:
            digest = f"sha256 {other.digest[:SHOWN]}..."
            raise SpecError(f"needs {record}, and {other.path} is another version ({digest})")
        raise SpecError(f"needs {record}: {REMEDY}")


def stand_in(records: Iterable[PluginRecord]) -> None:
    """Makes results readable whose plug-ins are not loaded: members that are known by their facts.

    Args:
        records: What a study recorded.

    Raises:
        SpecError: The facts of a member are not possible.
    """
    for record in (record for record in records if not record.is_loaded):
        for word, kind in PLACES.items():
            if kind.from_facts is not None:
                for name, facts in record.members.get(word, {}).items():
                    _add(kind, name, facts) if name not in kind.table else _compare(
                        record, kind, name, facts
                    )


def _compare(record: PluginRecord, kind: Kind, name: str, facts: Any) -> None:
    """SpecError where this process has another member of the name than the plug-in had."""
    if _json(kind.facts(kind.table[name])) != _json(facts):
        raise SpecError(
            f"was made with {record}, and this process has another {kind.word} {name!r}"
        )


def _json(facts: Any) -> str:
    return json.dumps(facts, sort_keys=True)


def _add(kind: Kind, name: str, facts: Any) -> None:
    assert kind.from_facts is not None  # noqa: S101  seen by the caller
    try:
        entry = kind.from_facts(facts)
        check_name(name)
    except (TypeError, KeyError, ValueError, AttributeError, SpecError) as error:
        fault = f"{error} is missing" if isinstance(error, KeyError) else error
        what = f"{kind.word} {name!r:.80}: {fault!s:.120}"
        raise SpecError(f"has a damaged record of its plug-ins ({what})") from None
    kind.table[name] = entry
    STAND_INS.add((kind.word, name))
    if kind.word == "proxy" and PROXY + name not in METRICS:
        METRICS[PROXY + name] = proxy_metric(name)
        STAND_INS.add(("metric", PROXY + name))
