"""A calibrated chip as a profile file that `load_profile` reads."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hw_models.calibration.fit import Calibration, Residual
from hw_models.errors import CalibrationError, FileError
from hw_models.files.text_file import write_text
from hw_models.parameters import SCHEMA
from hw_models.profile import HEAD, Entry, Profile
from hw_models.profile_file import FOLDER, known_profiles, load_profile

CALIBRATED = ", calibrated"  # added to a profile's title


def write_profile(calibration: Calibration, measurements: Path, output: Path) -> Profile:
    """Write the fitted profile, with its residuals in the notes.

    A profile that comes with the program is named as the base, and only what differs from it is
    written; any other one is written whole, so that the file needs no file of the user's.

    Args:
        calibration: The fit.
        measurements: The file it was fitted to, to be named as the source of each figure.
        output: Where to write, a name that ends in .toml.

    Returns:
        The profile as it was written.

    Raises:
        CalibrationError: A file cannot be read or written, or `output` has another ending.
    """
    if output.suffix.lower() != ".toml":
        raise CalibrationError(f"{output}: a name that ends in .toml is needed")
    try:
        digest = hashlib.sha256(measurements.read_bytes()).hexdigest()[:12]
        source = f"{measurements.name} (sha256 {digest})"
        profile = _with_sources(calibration, source, output.stem)
        lines = _lines(profile, _base(calibration.profile, output))
        write_text(output, "\n".join(lines) + "\n")
    except FileError as error:
        raise CalibrationError(str(error)) from error
    except OSError as error:
        raise CalibrationError(f"{output}: cannot be written ({error.strerror})") from error
    return profile


def _with_sources(calibration: Calibration, origin: str, name: str) -> Profile:
    """The fitted profile with where its figures come from and how well they fit."""
    fitted, entries = calibration.profile, dict(calibration.profile.entries)
    count = calibration.measurements
    for figure in calibration.figures:
        if figure.identified:
            source = f"fitted to {count} measurements in {origin}, was {figure.before:g}"
            entries[figure.key] = replace(entries[figure.key], source=source)
    title = fitted.head["title"].removesuffix(CALIBRATED) + CALIBRATED
    notes = "\n".join([fitted.head["notes"].strip(), *_notes(calibration, origin)])
    head = {**fitted.head, "title": title, "notes": notes}
    return replace(fitted, name=name, head=head, entries=entries)


def _notes(calibration: Calibration, origin: str) -> list[str]:
    notes = [f"Fitted to {origin}. Prediction over measurement - 1:"]
    notes += [_residual_line(residual) for residual in calibration.residuals]
    if unchanged := [figure.key for figure in calibration.figures if not figure.identified]:
        notes.append(f"Not determined by the data, left unchanged: {', '.join(unchanged)}.")
    return notes


def _residual_line(r: Residual) -> str:
    line = f"{r.name}: {r.metric} {r.measured:g}, {r.before:+.2%} before, {r.after:+.2%} after"
    line += "" if r.left_out is None else f", {r.left_out:+.2%} left out"
    line += "; contradicts the others" if r.contradicts else ""
    return line if r.fitted else f"{line}; not fitted to"


def _base(profile: Profile, output: Path) -> Profile | None:
    """The built-in profile that a fitted one can be based on; None where it would be itself."""
    if profile.name not in known_profiles() or output.resolve().parent == FOLDER.resolve():
        return None
    return load_profile(profile.name)


def _lines(profile: Profile, base: Profile | None) -> list[str]:
    """A profile as TOML: whole, or what differs from its base."""
    lines = [] if base is None else [f"base = {_toml(base.name)}"]
    lines += [f"{key} = {_toml(profile.head[key])}" for key in HEAD]
    for section in ("options", "switches", "entries"):
        rows, known = getattr(profile, section), {} if base is None else getattr(base, section)
        changed = {key: v for key, v in rows.items() if key not in known or known[key] != v}
        if section == "entries":
            lines += ["", "[values]", *(f"{k} = {_entry(k, v)}" for k, v in changed.items())]
        else:
            lines += ["", f"[{section}]", *(f"{k} = {_toml(v)}" for k, v in changed.items())]
    return lines


def _entry(key: str, entry: Entry) -> str:
    values: dict[str, Any] = {"value": entry.value, "unit": SCHEMA[key].unit}
    values |= {"low": entry.low, "high": entry.high} if entry.low is not None else {}
    values |= {"fitted": list(entry.fitted)} if entry.fitted is not None else {}
    values |= {"supply": entry.supply} if entry.supply is not None else {}
    values |= {"source": entry.source, "node": entry.node, "licence": entry.licence}
    return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in values.items()) + " }"


def _toml(value: Any) -> str:
    """A value as TOML writes it; its strings are those of JSON."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str):  # a file name may hold invalid text, and TOML forbids DEL
        value = value.encode("utf-8", "replace").decode()
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
