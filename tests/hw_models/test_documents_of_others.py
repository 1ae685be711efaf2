"""JSON and TOML that is wrong: line, column and what is needed, in words of ours."""

import math

import pytest

from hw_models import FileError
from hw_models.files.json_file import parse_json
from hw_models.files.text_file import decode
from hw_models.files.toml_file import ADVICE, read_toml

JSON = [
    ('{"a": 1,\n "b" 2}', "line 2, column 6: not JSON: a colon after the key is needed, not '2}'"),
    ("{'a': 1}", "line 1, column 2: not JSON: a key in double quotes is needed, not \"'a': 1}\""),
    ('{"a": }', "line 1, column 7: not JSON: a value"),
    ("[1 2]", "line 1, column 4: not JSON: a comma or the end of the list or table is needed"),
    ('{"a": 1', "not the end of the file (is it cut?)"),
    ("{}\n{}", "line 2, column 1: not JSON: nothing after the end of the document"),
    ('["a', "text with a double quote at its end"),
    ('["a\nb"]', r"\n or another escape in place of a control character"),
    (r'["\x"]', r"a known escape (a backslash itself is \\)"),
    (r'["\u12"]', r"four hex digits after \u"),
    (r'["\ud800"]', "half of a surrogate pair"),
    ("[NaN]", "a number is needed, not NaN"),
    ("[-Infinity]", "a number is needed, not -Infinity"),
    ("[1e999]", "1e999: a number below 1.8e308 is needed"),
    ("[" + 5000 * "1" + "]", "a number of 5000 digits, 400 are possible"),
    ('{"a": {"b": 1, "b": 2}}', "key 'b' is given twice in one table"),
    ("[" * 100_000, "nested too deep"),
    ("[1,]", "a value"),
    ("[1_0]", "a comma or the end of the list or table"),
    ("[+5]", "a value"),
    ("[0x10]", "a comma or the end of the list or table"),
    ("[٣]", "a value"),
]


@pytest.mark.parametrize(("text", "message"), JSON, ids=[text[:16] for text, _ in JSON])
def test_json_of_another_kind(text, message):
    with pytest.raises(FileError) as caught:
        parse_json(text, "a.json")
    assert str(caught.value).startswith("a.json: ")
    assert message in str(caught.value)


TOML = [
    ("a", "line 1, at its end: not TOML: key = value or [table] is needed, not in 'a'"),
    ("= 1", "key = value or [table] is needed, not in '= 1'"),
    ("a.= 1", "a key of letters, digits, - and _ is needed"),
    ("a = 1\nb = x y", "line 2, column 5: not TOML: a value (text in double quotes"),
    ("a = 2026-02-30", "a date as in 2026-01-31 is needed"),
    ("a = 1\na = 2", "line 2, at its end: not TOML: the key is given twice"),
    ("a = {b = 1, b = 2}", "the key is given twice"),
    ("[a]\n[a]", "the table is given twice"),
    ("a = {b = 1}\na.c = 2", "nothing can be added to it"),
    ("a = {b = 1}\n[a.c]", "the table is given twice|nothing can be added to it"),
    ("a = [1 2]", "a list needs a comma between its values"),
    ("a = {b = 1", "a table needs a comma between its keys"),
    ('a = "x', "a text needs a quote at its end"),
    ('a = """x', "line 1, at its end: not TOML: a text needs a quote at its end"),
    ("a = 'x", "a text needs a quote at its end"),
    ("a = 1 b = 2", "one key = value on each line is needed"),
    ("[a", "the name of a table needs ] at its end"),
    ("[[a]", "the name of a table needs ] at its end"),
    (r'a = "C:\data"', "a known escape is needed|hex digits|a known escape"),
    (r'a = "\u12"', "hex digits are needed after the escape"),
    (r'a = "\ud800"', "a character that exists is needed after the escape"),
    ('a = "x\x01"', "a line break or control character is not possible"),
    ("a = 1 # \x01", "a line break or control character is not possible"),
    ("a = " + 5000 * "1", "a number has too many digits"),
    ("a = " + 100_000 * "[", "nested too deep"),
    ('{"a": 1}', "key = value or [table] is needed"),
]


@pytest.mark.parametrize(("text", "message"), TOML, ids=[text[:16] for text, _ in TOML])
def test_toml_of_another_kind(text, message, tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(FileError) as caught:
        read_toml(path)
    shown = str(caught.value)
    assert shown.startswith(f"{path}: ")
    assert any(part in shown for part in message.split("|")), shown
    assert "\n" not in shown


def test_every_message_of_the_parser_has_words_of_ours():
    """A message that ADVICE does not know would be shown in Python's words."""
    import inspect
    import re
    import tomllib._parser as parser

    messages = re.findall(r'suffixed_err\(\s*\w+, \w+, f?"([^"]+)', inspect.getsource(parser))
    assert len(messages) > 15
    assert [m for m in messages if not m.startswith(tuple(ADVICE))] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\xff", "line 1, column 2: cannot be read: no UTF-8"),
        ("ä\r\nb\r\n".encode() + b"c\xfc", "line 3, column 2: cannot be read: no UTF-8"),
        (b"a\0b", "NUL bytes"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\xff\xfea", "damaged UTF-16"),
    ],
)
def test_content_that_is_no_text(content, message):
    with pytest.raises(FileError, match=f"f.txt: .*{message}|f.txt: {message}"):
        decode(content, "f.txt")


def test_numbers_of_json_are_finite():
    assert parse_json("[1e308, 0.1, -3]", "x") == [1e308, 0.1, -3]
    assert math.isfinite(parse_json("[" + 400 * "9" + "]", "x")[0] // 10**399)
