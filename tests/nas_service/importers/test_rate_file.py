"""Files with a spike rate for each layer."""

import pytest

from hw_models import WorkloadError
from nas_service.importers.rate_file import read_rates


def read(tmp_path, text, name="rates.csv"):
    (tmp_path / name).write_text(text)
    return read_rates(tmp_path / name)


@pytest.mark.parametrize("separator", [" ", ",", ";", "\t", ", "])
def test_names_and_rates(tmp_path, separator):
    text = f"# measured\n\nconv0{separator}0.1\n0{separator}0.25 # of a layer called 0\n"
    assert read(tmp_path, text) == {"conv0": 0.1, "0": 0.25}


def test_rates_in_their_order(tmp_path):
    assert read(tmp_path, "0.1\n\n1e-3\n0\n") == [0.1, 0.001, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n", "line 1: '0,1': a decimal comma, or a name and a rate?"),
        ("a 0.1\nb 0,25\n", "line 2: 'b 0,25': a decimal comma"),
        ("a;0,25\n", "a decimal comma"),
        ("0.1\n1.5\n", "line 2: '1.5': one rate 0..1 a line"),
        ("a 0_1\n", "one rate 0..1"),
        ("a \u0660\n", "one rate 0..1"),
        ("a nan\n", "one rate 0..1"),
        ("0.1\na 0.2\n", "line 2: 'a 0.2'"),
        ("a 0.1\n# b\na 0.2\n", "line 3: a second rate for layer 'a'"),
    ],
)
def test_rates_that_are_none(tmp_path, text, message):
    with pytest.raises(WorkloadError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
