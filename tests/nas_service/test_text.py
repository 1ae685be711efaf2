"""One style for all numbers and texts that people read."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_service.metrics import METRICS, SHARE
from nas_service.text import (
    duration,
    exact,
    metric,
    metric_label,
    metric_number,
    metric_unit,
    number,
    percent,
    printable,
    quantity,
    signed,
)

NUMBERS = {
    None: "-", math.nan: "-", 0: "0", 5: "5", 1234567: "1,234,567",
    0.20812: "0.208", 0.001: "0.00100", 0.000999: "9.99e-4", 12.345: "12.3", 999.6: "1,000",
    123456.7: "123,457", 999999.6: "1.00e6", 2403846.2: "2.40e6", 1e-9: "1.00e-9",
    -0.5: "-0.500", math.inf: "inf", -math.inf: "-inf", 100.0: "100",
}  # fmt: skip


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_have_three_significant_digits(value):
    assert number(value) == NUMBERS[value]


def test_digits_are_chosen():
    assert number(-0.0) == number(0.0) == "0"
    assert number(0.20812, 2) == "0.21"
    assert number(1234.5, 6) == "1,234.50"


@given(st.floats(1e-300, 1e300) | st.floats(-1e300, -1e-300))
def test_a_number_is_what_it_shows(value):
    text = number(value)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.005001)
    assert ("e" in text) == (not 1e-3 <= abs(float(text.replace(",", ""))) < 1e6)


QUANTITIES = {
    (2.08e-7, "J"): "208 nJ", (17140, "B"): "16.7 KiB", (1023, "B"): "1,023 B", (0, "J"): "0 J",
    (0.9994, "s"): "999 ms", (0.9996, "s"): "1.00 s", (2403846.2, "1/s"): "2.40 M/s",
    (12.0, "1/s"): "12.0 /s", (3e-9, "m2"): "3,000 um2", (1.2e-4, "m2"): "120 mm2",
    (1e8, "Hz"): "100 MHz", (1.2e-16, "J s"): "120 aJ s", (1023.9 * 1024, "B"): "1.00 MiB",
    (0.123, "share"): "12.3 %", (7, "1"): "7", (None, "J"): "-", (-2e-3, "W"): "-2.00 mW",
}  # fmt: skip


@pytest.mark.parametrize(("value", "unit"), QUANTITIES)
def test_a_quantity_has_a_prefix_that_fits(value, unit):
    assert quantity(value, unit) == QUANTITIES[value, unit]


METRIC_TEXTS = {
    ("accuracy", 0.9389): "93.9 %", ("energy_uJ", 0.20812): "0.208 uJ",
    ("energy_delay_nJs", 1e-5): "10.0 fJ s", ("throughput_per_s", 2403846.2): "2.40 M/s",
    ("throughput_per_s", 12.2): "12.2 /s", ("parameters", 12345.0): "12,345",
    ("effective_macs", 1234567.8): "1,234,568", ("footprint_B", 19850.0): "19.4 KiB",
    ("a plug-in's", 3.1): "3.10", ("energy_uJ@0.9", 0.2): "0.200 uJ", ("tiles", None): "-",
    ("energy_uJ", 0.0): "0 uJ",
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), METRIC_TEXTS)
def test_a_metric_has_its_unit(name, value):
    assert metric(name, value) == METRIC_TEXTS[name, value]


def test_a_cell_of_a_table_and_its_heading():
    assert (metric_number("accuracy", 0.9389), metric_unit("accuracy")) == ("93.9", "%")
    assert (metric_number("energy_uJ", 0.2), metric_unit("energy_uJ")) == ("0.200", "uJ")
    assert metric_label("energy_uJ") == "energy"
    assert metric_label("energy_uJ@0.9") == "energy at 90 %"
    assert metric_label("throughput_per_s") == "throughput"
    assert metric_label("proxy_sahd") == "proxy sahd"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_shown_in_one_unit(name):
    unit = {SHARE: "%", "B": "KiB"}.get(METRICS[name].unit, METRICS[name].unit)
    assert metric_unit(name) == unit
    assert not re.search(r"_|\b(uJ|mm2|ms|KiB|mW|nJs|B|per s)$", metric_label(name))
    assert metric(name, 0.5).endswith(("50.0 %", "0.500", "0", unit.removeprefix("1")))


def test_what_a_person_gave_is_repeated_as_it_was():
    shown = [exact(x) for x in (0.2, 1500.0, 0.1234567, 3, None, 1e20)]
    assert shown == ["0.2", "1,500", "0.123457", "3", "-", "1e+20"]


def test_differences_have_a_sign():
    assert [signed(x) for x in (0.5, -0.5, 0.0, None)] == ["+0.500", "-0.500", "0", "-"]
    assert percent(0.0831) == "8.31 %"
    assert percent(None) == "-"


DURATIONS = {
    0.2: "0.2 s", 9.96: "10 s", 59.6: "1 min", 61: "1 min 1 s", 3599: "59 min 59 s",
    3600: "1 h", 3661: "1 h 1 min", 86399: "24 h", 90000: "1 d 1 h", 1e6: "11 d 14 h",
}  # fmt: skip


@pytest.mark.parametrize("seconds", DURATIONS)
def test_a_duration_has_two_units(seconds):
    assert duration(seconds) == DURATIONS[seconds]


HOSTILE = {
    "\x1b[31mred": r"\x1b[31mred",
    "a\nb\tc": r"a\nb\tc",
    "\u202eevil": r"\u202eevil",
    "\ud800": r"\ud800",
    "zero\u200bwidth": r"zero\u200bwidth",
    "[bold]markup[/]": "[bold]markup[/]",
    "Grüße, 3 µJ, 日本\u3000語": "Grüße, 3 µJ, 日本\u3000語",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_what_could_steer_a_terminal_is_visible(text):
    assert printable(text) == HOSTILE[text]


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_printable_text_is_one_line_that_can_be_encoded(text):
    shown = printable(text)
    assert printable(shown) == shown
    assert len(shown.splitlines()) <= 1
    shown.encode()
