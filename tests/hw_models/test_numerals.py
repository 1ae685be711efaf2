"""Numbers in text: what a file's own syntax says, and nothing else that Python would read."""

import pytest

from hw_models.files.numerals import parse_number, parse_whole

NO_NUMBERS = ["", " ", "²", "٣", "1_000", " 5 ", "5\n", "nan", "inf", "-inf", "0x10", "1e999", "1e"]
NO_NUMBERS += ["--1", "1,5", "½", "1e9999999", "9" * 5000, "\uff15", "1.5.2", ".", "e5", "true"]


@pytest.mark.parametrize("text", NO_NUMBERS, ids=repr)
def test_text_that_is_no_number(text):
    assert parse_number(text) is None
    assert parse_whole(text) is None


@pytest.mark.parametrize("text", ["-1", "+5", "1.0", "1e3", "1" * 19])
def test_text_that_is_a_number_but_no_count(text):
    assert parse_number(text) == float(text)
    assert parse_whole(text) is None


def test_numbers():
    texts = ["0", "007", "12", "1.5", ".5", "5.", "1e-3", "-1.5E+3"]
    assert [parse_number(text) for text in texts] == [0, 7, 12, 1.5, 0.5, 5, 0.001, -1500]
    assert [parse_whole(text) for text in ("0", "007", "12")] == [0, 7, 12]
