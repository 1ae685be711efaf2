"""Measurements read from CSV files as people bring them."""

import csv
import json

import pytest
from measured_networks import CHIP, network

from hw_models import HardwareError
from hw_models.calibration.fit import fit
from hw_models.calibration.measurements import read_measurements
from hw_models.errors import CalibrationError


def table(tmp_path, rows, name="net.json"):
    (tmp_path / name).write_text(json.dumps(network(1).to_json()))
    path = tmp_path / "m.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_measurements_of_several_chips(tmp_path):
    """Sizes that were measured become the range in which the chip may be used."""
    rows = [["workload", "crossbar_size", "spike_rate", "energy_uJ", "energy_uJ_sd"]]
    for size in (32, 128):
        chip = CHIP.with_values({"crossbar_size": size, "sar_bit_energy": 0.15})
        energy = chip.estimate(network(1).at_rate(0.2)).metrics()["energy_uJ"]
        rows.append(["net.json", size, 0.2, energy, energy / 100])
    read = read_measurements(table(tmp_path, rows))
    assert read[0].deviations["energy_uJ"] == pytest.approx(read[0].values["energy_uJ"] / 100)
    calibration = fit(CHIP, read, ["sar_bit_energy"])
    assert calibration.figures[0].after == pytest.approx(0.15, rel=0.02)
    assert calibration.profile.entries["crossbar_size"].fitted == (32, 128)
    with pytest.raises(HardwareError, match=r"crossbar_size = 256: a whole number in 32\.\.128"):
        calibration.profile.with_values({"crossbar_size": 256})


NO_NUMBERS = ("nan", "inf", "x", "3_0", "٣", "²", "0x10", "1e999", "1 000", "1.2.3", "1e")
HEAD = ["workload", "energy_uJ"]
WRONG = [
    ([], "the file is empty"),
    ([HEAD], "no measurement"),
    ([["workload", "enrgy_uJ"], ["net.json", 1]], "did you mean 'energy_uJ'"),
    ([["workload", "clock"], ["net.json", 1]], "columns workload and one of"),
    ([HEAD, ["net.json", 0]], "line 2: energy_uJ = '0'"),
    ([HEAD, ["net.json", ""]], "one of energy_uJ"),
    ([HEAD, ["none.json", 1]], "none.json"),
    ([HEAD, ["", 1]], "the path of a layer list"),
    ([HEAD, ["net.json", -1]], "energy_uJ = '-1'"),
    ([[*HEAD, "energy_uJ"], ["net.json", 1, 2]], "energy_uJ are given twice"),
    ([[*HEAD, "energy_uJ_sd"], ["net.json", 1, 0]], "energy_uJ_sd = '0'"),
    ([[*HEAD, "latency_ms_sd"], ["net.json", 1, 2]], "latency_ms_sd: latency_ms itself"),
    ([[*HEAD, "spike_rate"], ["net.json", 1, 2]], "spike_rate = '2': a number 0..1"),
    ([HEAD, ["net.json"]], "line 2: 2 cells are needed, not 1"),
    ([HEAD, ["net.json", 92, 1]], "not 3 (for decimal commas, separate the columns by semi"),
    ([HEAD, [], ["# old chip"], ["net.json", 1], ["net.json", "x"]], "line 5: energy_uJ = 'x'"),
    ([[*HEAD, ""], ["net.json", 1, "late"]], "'late' is in a column without a name"),
    *([[HEAD, ["net.json", text]], f"energy_uJ = {text!r}"] for text in NO_NUMBERS),
    *([[[*HEAD, "crossbar_size"], ["net.json", 1, text]], repr(text)] for text in ("6_4", "٦٤")),
]


@pytest.mark.parametrize(("rows", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_measurements_name_line_and_column(tmp_path, rows, message):
    with pytest.raises(CalibrationError) as caught:
        fit(CHIP, read_measurements(table(tmp_path, rows)))
    assert message in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(CalibrationError, match=r"none\.csv: cannot be read"):
        read_measurements(tmp_path / "none.csv")


def written(tmp_path, text, encoding="utf-8"):
    """The measurements of a file with this text."""
    (tmp_path / "net.json").write_text(json.dumps(network(1).to_json()))
    (tmp_path / "m.csv").write_bytes(text.encode(encoding))
    return read_measurements(tmp_path / "m.csv")


PLAIN = "workload,energy_uJ,latency_ms,spike_rate\nnet.json,92.1,1.310,0.5\n"
GERMAN = "workload;energy_uJ;latency_ms;spike_rate\r\nnet.json;92,1;1,310;0,5\r\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        GERMAN,
        GERMAN.replace(";", "\t"),
        "sep=;\n" + GERMAN,
        "# of a lab\n\n" + PLAIN + ",,,\n  # end\n",
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("92.1", '"92.1"').replace("1.310", " +1.31e0 "),
        GERMAN.replace(";", ",")
        .replace("92,1", '"92,1"')
        .replace("1,3", '"1,3')
        .replace("10,0,5", '10","0,5"'),
        PLAIN.replace("\n", "\r"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets_say_the_same(tmp_path, text, encoding):
    (read,) = written(tmp_path, text, encoding)
    assert read.values == {"energy_uJ": 92.1, "latency_ms": 1.31}
    assert {layer.spike_rate for layer in read.workload.layers} == {0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GERMAN.replace("92,1", "92.1"), "decimal points only"),
        (GERMAN.replace("92,1", "1.092,1"), "decimal points only"),
        ("workload\tenergy_uJ\nnet.json\t1,310\n", "a decimal comma or a separator of thousands?"),
        (PLAIN.replace("energy_uJ,", "energy_uJ;"), "semicolons and commas|commas and semicolons"),
        (PLAIN.replace("net.json", '"net.json'), 'a cell in quotes needs " at its end'),
        ("# nothing\n", "no line with the names of the columns"),
        (GERMAN.replace("92,1", "1,092,1"), "energy_uJ = '1,092,1': a number > 0"),
    ],
)
def test_what_two_readers_would_read_differently_is_refused(tmp_path, text, message):
    with pytest.raises(CalibrationError, match=message):
        written(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PLAIN.replace("net", "näht").encode("latin-1"), "line 2, column 2: .*save .* as UTF-8"),
        (b"PK\x03\x04 xlsx", r"a spreadsheet \(save its sheet as CSV\)"),
        (PLAIN.encode("utf-16-le"), "UTF-16 without a byte-order mark, text saved as UTF-8"),
        (PLAIN.encode("utf-16-be"), "UTF-16 without a byte-order mark, text saved as UTF-8"),
        (PLAIN.encode() + b"\0", "NUL bytes, text saved as UTF-8"),
        (PLAIN.encode("utf-16")[:-1], "damaged UTF-16, is it cut"),
    ],
)
def test_files_that_are_no_text_say_how_to_save_them(tmp_path, content, message):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(CalibrationError, match=message):
        read_measurements(tmp_path / "m.csv")


def test_a_rate_of_zero_is_a_rate(tmp_path):
    (read,) = written(tmp_path, PLAIN.replace("0.5", "0"))
    assert {layer.spike_rate for layer in read.workload.layers} == {0}


def test_a_setting_that_no_chip_has_names_its_line(tmp_path):
    head, row = PLAIN.strip().split("\n")[:2]
    runs = written(tmp_path, f"{head},adc_bits\n\n{row},1_6\n")
    with pytest.raises(CalibrationError, match=r"m.csv: line 3: .*adc_bits = '1_6': a whole"):
        fit(CHIP, runs)
