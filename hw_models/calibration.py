"""A chip's figures fitted to measurements.

With f the factors on the figures, m what the chip predicts and y what was measured, the fit
minimises
    sum ((ln m(f) - ln y) / sigma)^2 + sum (ln f / s)^2.
sigma is a measurement's relative standard deviation, given or estimated from the residuals; s is
the figure's own range (low, high) read as a 90 % interval, or a factor e where it has none. A
figure that the data leave as uncertain as before stays what it was, and what it may be instead
widens the intervals of the others. M measured numbers, F figures.
"""

import csv
import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hw_models.cost_model import Chip, ResourceUse
from hw_models.errors import CalibrationError, HardwareError
from hw_models.layer_table import Array
from hw_models.parameters import CHOICES, DEFECTS, SCHEMA
from hw_models.profile import FOLDER, HEAD, Entry, Profile, known_profiles, load_profile
from hw_models.workload import Workload

METRICS = {"energy_uJ": 1e6, "latency_ms": 1e3, "area_mm2": 1e6}  # and their factor from SI
FITTED_UNITS = ("pJ", "pJ/mm", "um2", "MHz", "mW/mm2")
NINETY = 1.645  # standard deviations either side of a 90 % interval
FREE = 1.0  # prior deviation of the logarithm of a figure without a range
LARGEST = 100.0  # a factor further away is no calibration of this chip
TOLD = 0.7  # posterior over prior deviation: above it the data cannot tell a figure
LEAST_NOISE = 1e-4
MAX_ROUNDS = 60
CALIBRATED = ", calibrated"


@dataclass(frozen=True)
class Measurement:
    """One measured network on the chip, in the units of METRICS."""

    name: str
    workload: Workload
    settings: Mapping[str, str]
    values: Mapping[str, float]
    deviations: Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """One figure before and after the fit, in the unit of the profile."""

    key: str
    before: float
    after: float
    low: float  # 90 % interval
    high: float
    identified: bool


@dataclass(frozen=True)
class Residual:
    """Prediction over measurement - 1."""

    name: str
    metric: str
    measured: float
    before: float
    after: float
    left_out: float | None  # predicted by a fit without this measurement


@dataclass(frozen=True)
class Calibration:
    """A fitted chip."""

    profile: Profile
    figures: tuple[Figure, ...]
    residuals: tuple[Residual, ...]
    measurements: int

    def to_json(self) -> dict[str, Any]:
        return {
            "digest": self.profile.digest,
            "figures": [asdict(f) for f in self.figures],
            "residuals": [asdict(r) for r in self.residuals],
        }


def read_measurements(path: Path) -> list[Measurement]:
    """Measurements of a CSV file; raises CalibrationError naming line and column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path}: cannot be read ({error})") from error
    if not rows:
        raise CalibrationError(f"{path}: no measurement")
    if None in rows[0]:
        raise CalibrationError(f"{path}, line 2: as many fields as the first line has are needed")
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise CalibrationError(f"{path}: columns {', '.join(twice)} stand twice")
    known = {"name", "workload", "spike_rate", *METRICS, *(f"{m}_sd" for m in METRICS)}
    for column in rows[0]:
        _known_column(str(column), known | set(SCHEMA) | set(CHOICES) | set(DEFECTS), path)
    if "workload" not in rows[0] or not set(METRICS) & set(rows[0]):
        raise CalibrationError(f"{path}: columns workload and one of {', '.join(METRICS)}")
    return [_measurement(row, f"{path}, line {i + 2}", path.parent) for i, row in enumerate(rows)]


def _known_column(name: str, known: set[str], path: Path) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise CalibrationError(f"{path}: unknown column {name!r:.60}{hint}")


def _measurement(row: Mapping[str, Any], where: str, folder: Path) -> Measurement:
    if None in row or None in row.values():
        raise CalibrationError(f"{where}: as many fields as the first line has are needed")
    filled = {key: value.strip() for key, value in row.items() if value.strip()}
    if "workload" not in filled:
        raise CalibrationError(f"{where}: workload: the path of a layer list is needed")
    listed = folder / filled["workload"]
    try:
        workload = Workload.from_json(json.loads(listed.read_text(encoding="utf-8")))
        if "spike_rate" in filled:
            workload = workload.at_rate(_positive(filled["spike_rate"], f"{where}: spike_rate"))
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{where}: workload {listed}: {error}") from error
    values = {m: _positive(filled[m], f"{where}: {m}") for m in METRICS if m in filled}
    if not values:
        raise CalibrationError(f"{where}: one of {', '.join(METRICS)} is needed")
    given = {m: filled[f"{m}_sd"] for m in METRICS if f"{m}_sd" in filled}
    deviations = {m: _positive(text, f"{where}: {m}_sd") for m, text in given.items()}
    settings = {key: v for key, v in filled.items() if key in {*SCHEMA, *CHOICES, *DEFECTS}}
    return Measurement(filled.get("name", listed.name), workload, settings, values, deviations)


def _positive(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise CalibrationError(f"{where} = {text!r:.60}: a number > 0 is needed")
    return number


def fit(
    profile: Profile, measurements: Sequence[Measurement], keys: Sequence[str] = ()
) -> Calibration:
    """The profile with the figures `keys`, or all that the measurements feel, fitted to them."""
    if not measurements:
        raise CalibrationError("no measurement: at least one is needed")
    problem = _Problem.of(profile, measurements)
    asked = _asked(keys, problem) or problem.felt()
    if not asked:
        raise CalibrationError("no figure of this profile moves any of the measured metrics")
    found = problem.solve(asked, [])
    while found.told != found.keys:  # what the data cannot tell stays what it was
        found = problem.solve(found.told, [key for key in asked if key not in found.told])
    figures = tuple(_figure(profile, key, found.factors, found.widths) for key in asked)
    fitted = _fitted_profile(profile, figures, measurements)
    return Calibration(fitted, figures, problem.residuals(found), len(measurements))


def _asked(keys: Sequence[str], problem: "_Problem") -> list[str]:
    """The figures that the user names, each once; no more than numbers were measured."""
    asked = [_fittable(key, problem.profile) for key in dict.fromkeys(keys)]
    if given := sorted(problem.given & set(asked)):
        raise CalibrationError(f"--fit {given[0]}: the measurements have a column that sets it")
    if len(asked) > len(problem.places):
        raise CalibrationError(
            f"{len(asked)} figures to fit and {len(problem.places)} measured numbers: "
            "at least as many numbers as figures are needed"
        )
    return asked


def _fittable(key: str, profile: Profile) -> str:
    if key not in SCHEMA:
        near = difflib.get_close_matches(key, sorted(SCHEMA), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise CalibrationError(f"--fit {key!r:.60}: no figure of a profile{hint}")
    if SCHEMA[key].unit not in FITTED_UNITS or not profile.values[key]:
        raise CalibrationError(
            f"--fit {key} = {profile.values[key]:g} {SCHEMA[key].unit}: only energies, areas and "
            "the clock can be fitted, where they are not 0"
        )
    return key


@dataclass(frozen=True, eq=False)
class _Problem:
    """Measurements as numbers, with everything that no price changes counted once."""

    profile: Profile
    chips: list[Profile]  # of each measurement
    demands: list[ResourceUse]
    places: list[tuple[int, str]]  # measurement and metric of each number
    names: list[str]
    measured: Array  # [M]
    deviation: Array  # [M] relative, nan where it is to be estimated

    @classmethod
    def of(cls, profile: Profile, measurements: Sequence[Measurement]) -> "_Problem":
        chips = [_measured_chip(profile, m) for m in measurements]
        places = [(i, metric) for i, m in enumerate(measurements) for metric in m.values]
        sd = [measurements[i].deviations.get(k, math.nan) for i, k in places]
        values = np.array([measurements[i].values[k] for i, k in places])
        return cls(
            profile,
            chips,
            [c.chip.demand(m.workload) for c, m in zip(chips, measurements, strict=True)],
            places,
            [measurements[i].name for i, _ in places],
            values,
            np.array(sd) / values,
        )

    def predicted(self, factors: Mapping[str, float]) -> Array:
        """What the chip with changed figures gives for each measured number [M]."""
        found = []
        for profile, demand in zip(self.chips, self.demands, strict=True):
            changed = {key: profile.values[key] * f for key, f in factors.items()}
            found.append(_metrics(profile.chip_at(changed), demand))
        return np.array([found[i][metric] for i, metric in self.places])

    def felt(self) -> list[str]:
        """Figures that move a measured number at all."""
        base = self.predicted({})
        usable = [
            key
            for key, q in SCHEMA.items()
            if q.unit in FITTED_UNITS and self.profile.values[key] and key not in self.given
        ]
        return [key for key in usable if (self.predicted({key: 2.0}) != base).any()]

    @property
    def given(self) -> set[str]:
        """Figures that a measurement gives itself."""
        return {k for c in self.chips for k in SCHEMA if c.values[k] != self.profile.values[k]}

    def solve(self, keys: Sequence[str], left: Sequence[str]) -> "_Solution":
        """The best factors for some figures, and the noise they leave.

        Figures `left` stay what they are, though they may be anything that their prior allows.
        """
        prior = np.array([self._prior(key) for key in keys])
        every = np.ones(len(self.places), dtype=bool)
        noise = np.where(np.isnan(self.deviation), 0.05, self.deviation)
        theta = self._newton(keys, np.zeros(len(keys)), every, noise, prior)
        for _ in range(2):  # the noise that is left, where it was not given
            remaining = self._noise(keys, theta, every, noise, prior)
            noise = np.where(np.isnan(self.deviation), remaining, self.deviation)
            theta = self._newton(keys, theta, every, noise, prior)
        spread = self._spread(keys, theta, left, noise, prior)
        return _Solution(list(keys), theta, spread, prior, noise)

    def _prior(self, key: str) -> float:
        """Deviation of a figure's logarithm before the fit."""
        entry = self.profile.entries[key]
        if entry.low and entry.high and entry.high > entry.low:
            return math.log(entry.high / entry.low) / (2 * NINETY)
        return FREE

    def _reach(self, keys: Sequence[str]) -> tuple[Array, Array]:
        """Least and greatest logarithm of each factor, within LARGEST and the figure's bounds."""
        bounds = [(SCHEMA[k].least, SCHEMA[k].most, self.profile.values[k]) for k in keys]
        least = [math.log(max(1 / LARGEST, low / value)) for low, _, value in bounds]
        return np.array(least), np.array([math.log(min(LARGEST, m / v)) for _, m, v in bounds])

    def _logs(self, keys: Sequence[str], theta: Array) -> Array:
        return np.asarray(np.log(self.predicted(dict(zip(keys, np.exp(theta), strict=True)))))

    def _jacobian(self, keys: Sequence[str], theta: Array) -> Array:
        if not len(keys):
            return np.zeros((len(self.places), 0))
        step = 1e-5 * np.eye(len(keys))
        pairs = [(self._logs(keys, theta + e), self._logs(keys, theta - e)) for e in step]
        return np.stack([(a - b) / 2e-5 for a, b in pairs], 1)

    def _newton(
        self, keys: Sequence[str], theta: Array, used: Any, noise: Array, prior: Array
    ) -> Array:
        """Damped Gauss-Newton from a first guess."""
        least, most = self._reach(keys)
        damping = 1e-6
        cost = self._cost(keys, theta, used, noise, prior)
        for _ in range(MAX_ROUNDS):
            gap = (self._logs(keys, theta) - np.log(self.measured))[used] / noise[used]
            slope = self._jacobian(keys, theta)[used] / noise[used, None]
            gradient = slope.T @ gap + theta / prior**2
            hessian = slope.T @ slope + np.diag(1 / prior**2)
            move = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
            tried = np.clip(theta - move, least, most)
            new = self._cost(keys, tried, used, noise, prior)
            if new <= cost:
                gained, theta, cost, damping = cost - new, tried, new, damping / 10
                if gained <= 1e-12 * (1 + cost):
                    break
            else:
                damping = max(damping, 1e-9) * 10
                if damping > 1e9:
                    break
        return theta

    def _cost(
        self, keys: Sequence[str], theta: Array, used: Any, noise: Array, prior: Array
    ) -> float:
        gap = (self._logs(keys, theta) - np.log(self.measured))[used] / noise[used]
        return float(gap @ gap + ((theta / prior) ** 2).sum())

    def _noise(
        self, keys: Sequence[str], theta: Array, used: Any, noise: Array, prior: Array
    ) -> float:
        """Relative deviation of the measurements that is left behind the fit."""
        open_ = used & np.isnan(self.deviation)
        if not open_.any():
            return LEAST_NOISE
        gap = (self._logs(keys, theta) - np.log(self.measured))[open_]
        covariance = self._covariance(keys, theta, used, noise, prior)
        spent = len(keys) - float((np.diag(covariance) / prior**2).sum())  # figures the data told
        return max(LEAST_NOISE, math.sqrt(float(gap @ gap) / max(1.0, len(gap) - spent)))

    def _covariance(
        self, keys: Sequence[str], theta: Array, used: Any, noise: Array, prior: Array
    ) -> Array:
        slope = self._jacobian(keys, theta)[used] / noise[used, None]
        return np.linalg.inv(slope.T @ slope + np.diag(1 / prior**2))

    def _spread(
        self, keys: Sequence[str], theta: Array, left: Sequence[str], noise: Array, prior: Array
    ) -> Array:
        """Deviations of fitted logarithms [F]: the fit's own, and what `left` figures add.

        C = (S'S + P^-1)^-1 for the fitted figures; a left figure off by its prior deviation p
        moves them by C S' s p.
        """
        both = np.concatenate([theta, np.zeros(len(left))])
        slopes = self._jacobian([*keys, *left], both) / noise[:, None]
        told, untold = slopes[:, : len(keys)], slopes[:, len(keys) :]
        own = np.linalg.inv(told.T @ told + np.diag(1 / prior**2))
        moved = own @ told.T @ untold * np.array([self._prior(key) for key in left])
        return np.asarray(np.sqrt(np.diag(own) + (moved**2).sum(1)))

    def residuals(self, found: "_Solution") -> tuple[Residual, ...]:
        before = self.predicted({}) / self.measured - 1
        after = self.predicted(found.factors) / self.measured - 1
        left_out = self._left_out(found)
        return tuple(
            Residual(name, metric, float(y), float(b), float(a), left)
            for name, (_, metric), y, b, a, left in zip(
                self.names, self.places, self.measured, before, after, left_out, strict=True
            )
        )

    def _left_out(self, found: "_Solution") -> list[float | None]:
        """Each measurement predicted by a fit of the others; None below three measurements."""
        if len(self.chips) < 3 or not found.keys:
            return [None] * len(self.places)
        errors: list[float | None] = [None] * len(self.places)
        for left in range(len(self.chips)):
            used = np.array([i != left for i, _ in self.places])
            theta = self._newton(found.keys, found.theta, used, found.noise, found.prior)
            factors = dict(zip(found.keys, np.exp(theta).tolist(), strict=True))
            wrong = self.predicted(factors) / self.measured - 1
            for n in np.flatnonzero(~used).tolist():
                errors[n] = float(wrong[n])
        return errors


@dataclass(frozen=True, eq=False)
class _Solution:
    """Fitted figures [F]."""

    keys: list[str]
    theta: Array  # logarithms of their factors
    spread: Array  # and their deviations
    prior: Array  # the same before the fit
    noise: Array  # [M] relative deviation of the measurements

    @property
    def told(self) -> list[str]:
        """Figures that the data made surer."""
        surer = zip(self.keys, self.spread, self.prior, strict=True)
        return [key for key, after, before in surer if after < TOLD * before]

    @property
    def factors(self) -> dict[str, float]:
        return dict(zip(self.keys, np.exp(self.theta).tolist(), strict=True))

    @property
    def widths(self) -> dict[str, float]:
        return dict(zip(self.keys, self.spread.tolist(), strict=True))


def _measured_chip(profile: Profile, measurement: Measurement) -> Profile:
    try:
        return profile.with_values(measurement.settings)
    except HardwareError as error:
        raise CalibrationError(f"measurement {measurement.name}: {error}") from error


def _metrics(chip: Chip, d: ResourceUse) -> dict[str, float]:
    """Measurable metrics of a demand at this chip's prices."""
    areas, energies = chip.area_prices(d.pe_crossbars), chip.energy_prices
    area = sum(n * areas[name] for name, n in d.areas.items())
    latency = d.cycles * chip.read_s
    energy = sum(n * energies[name] for name, n in d.events.items())
    energy += chip.figures.leakage_W_m2 * area * latency
    si = {"energy_uJ": energy, "latency_ms": latency, "area_mm2": area}
    return {name: value * METRICS[name] for name, value in si.items()}


def _figure(
    profile: Profile, key: str, factors: Mapping[str, float], widths: Mapping[str, float]
) -> Figure:
    before = profile.values[key]
    if key not in factors:
        return Figure(key, before, before, before, before, identified=False)
    after, reach = before * float(factors[key]), math.exp(NINETY * float(widths[key]))
    low, high = max(SCHEMA[key].least, after / reach), min(SCHEMA[key].most, after * reach)
    return Figure(key, before, after, low, high, identified=True)


def _fitted_profile(
    profile: Profile, figures: Sequence[Figure], measurements: Sequence[Measurement]
) -> Profile:
    """The profile with fitted figures, and settings kept to the range they were measured in."""
    entries = dict(profile.entries)
    for f in figures:
        if f.identified:
            entries[f.key] = replace(
                entries[f.key], value=f.after, low=f.low, high=f.high, fitted=None
            )
    for key in (key for key, q in SCHEMA.items() if q.whole):
        seen = [float(m.settings.get(key, profile.values[key])) for m in measurements]
        if min(seen) < max(seen):
            entries[key] = _kept_within(entries[key], min(seen), max(seen))
    return replace(profile, entries=entries)


def _kept_within(entry: Entry, least: float, most: float) -> Entry:
    value, source = min(max(entry.value, least), most), entry.source
    if value != entry.value:
        source += f"; was {entry.value:g}, where nothing was measured"
    return replace(entry, value=value, source=source, fitted=(least, most))


def write_profile(found: Calibration, measurements: Path, output: Path) -> Profile:
    """The fitted profile as a file that `load_profile` reads, with its residuals in the notes.

    A profile that comes with the program is named as the base, and only what differs from it is
    written; any other one is written whole, so that the file needs no file of the user's.
    Returns what was written; raises CalibrationError.
    """
    if output.suffix != ".toml":
        raise CalibrationError(f"{output}: a name that ends in .toml is needed")
    try:
        digest = hashlib.sha256(measurements.read_bytes()).hexdigest()[:12]
        written = _documented(found, f"{measurements.name} (sha256 {digest})", output.stem)
        output.write_text("\n".join(_lines(written, _base(found.profile, output))) + "\n", "utf-8")
    except OSError as error:
        raise CalibrationError(f"{output}: cannot be written ({error})") from error
    return written


def _documented(found: Calibration, origin: str, name: str) -> Profile:
    """The fitted profile with where its figures come from and how well they fit."""
    p, entries = found.profile, dict(found.profile.entries)
    for f in found.figures:
        if f.identified:
            said = f"fitted to {found.measurements} measurements in {origin}, was {f.before:g}"
            entries[f.key] = replace(entries[f.key], source=said)
    notes = [p.head["notes"].strip(), f"Fitted to {origin}. Prediction over measurement - 1:"]
    notes += [_line(r) for r in found.residuals]
    if left := [f.key for f in found.figures if not f.identified]:
        notes.append(f"The data cannot tell, left as they were: {', '.join(left)}.")
    title = p.head["title"].removesuffix(CALIBRATED) + CALIBRATED
    head = {**p.head, "title": title, "notes": "\n".join(notes)}
    return replace(p, name=name, head=head, entries=entries)


def _line(r: Residual) -> str:
    told = f"{r.name}: {r.metric} {r.measured:g}, {r.before:+.2%} before, {r.after:+.2%} after"
    return told if r.left_out is None else f"{told}, {r.left_out:+.2%} left out"


def _base(profile: Profile, output: Path) -> Profile | None:
    """The built-in profile that a fitted one can stand on; None where it would be itself."""
    if profile.name not in known_profiles() or output.resolve().parent == FOLDER.resolve():
        return None
    return load_profile(profile.name)


def _lines(p: Profile, base: Profile | None) -> list[str]:
    """A profile as TOML: whole, or what differs from its base."""
    lines = [] if base is None else [f"base = {_toml(base.name)}"]
    lines += [f"{key} = {_toml(p.head[key])}" for key in HEAD]
    for part in ("options", "switches", "entries"):
        rows, known = getattr(p, part), {} if base is None else getattr(base, part)
        lines += ["", "[values]" if part == "entries" else f"[{part}]"]
        changed = {key: v for key, v in rows.items() if key not in known or known[key] != v}
        lines += [
            f"{k} = {_entry(k, v) if part == 'entries' else _toml(v)}" for k, v in changed.items()
        ]
    return lines


def _entry(key: str, e: Entry) -> str:
    values: dict[str, Any] = {"value": e.value, "unit": SCHEMA[key].unit}
    values |= {"low": e.low, "high": e.high} if e.low is not None else {}
    values |= {"fitted": list(e.fitted)} if e.fitted is not None else {}
    values |= {"source": e.source, "node": e.node, "licence": e.licence}
    return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in values.items()) + " }"


def _toml(value: Any) -> str:
    """A value as TOML has it; its strings are those of JSON."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str):  # a file name may hold what is no text, and TOML forbids DEL
        value = value.encode("utf-8", "replace").decode()
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
