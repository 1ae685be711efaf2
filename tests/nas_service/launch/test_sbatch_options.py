"""Options of sbatch: what a user may add, and that sbatch reads the value that was given."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import SpecError
from nas_service.launch.sbatch_options import LONGEST, SbatchOption, merged, parse


def read_by_sbatch(line: str) -> str:
    """The option that sbatch reads in a line: its rules of quoting are those of shlex."""
    (option,) = shlex.split(line.removeprefix("#SBATCH "), comments=True)
    return option


@given(st.text(min_size=1, max_size=30).filter(str.isprintable))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_printable_value_is_read_as_it_was_given(value):
    assert read_by_sbatch(parse(f"comment={value}").line) == f"--comment={value}"


@pytest.mark.parametrize(
    "text",
    [
        "output=logs/%x-%A_%a.log",
        "nodelist=n[1-4]",
        "constraint=a&b",
        "constraint=[rack1*2|rack2*4]",
        "gres=gpu:a100:1,lscratch:10",
        "mail-type=END,FAIL",
        "begin=now+1hour",
        "exclude=n[1-4,7]",
        "exclusive",
    ],
)
def test_plain_values_need_no_quotes(text):
    assert parse(text).line == parse(f"--{text}").line == f"#SBATCH --{text}"


@pytest.mark.parametrize("value", ["", "a\nb", "a\tb", "\x1b[2J", "x" * (LONGEST + 1)])
def test_values_that_would_break_the_line_are_refused(value):
    with pytest.raises(SpecError, match=r"--directive 'comment=.*printable characters"):
        parse(f"comment={value}")


@pytest.mark.parametrize("text", ["x y=1", "", "=1", "-q=long", "----qos=long", "é=1", "Qos=long"])
def test_what_is_no_option_is_refused(text):
    with pytest.raises(SpecError, match=r"--directive .* an option of sbatch is needed"):
        parse(text)


@pytest.mark.parametrize("text", ["wrap=id", "array=1-9", "--uid=0", "export=NONE", "time=9"])
def test_what_the_script_sets_itself_is_refused(text):
    with pytest.raises(SpecError, match=r"--directive .* the script sets [a-z]+ itself"):
        parse(text)


@pytest.mark.parametrize(
    ("own", "added", "left"),
    [
        ("mem=4G", "mem=8G", ["mem=8G"]),
        ("mem=4G", "mem-per-cpu=2G", ["mem-per-cpu=2G"]),
        ("gres=gpu:1", "gpus=a100:1", ["gpus=a100:1"]),
        ("mem=4G", "qos=long", ["mem=4G", "qos=long"]),
    ],
)
def test_an_option_of_the_user_replaces_ours(own, added, left):
    assert [option.text for option in merged([parse(own)], [parse(added)])] == left


def test_options_that_ask_for_a_gpu():
    asking = ["gres=gpu:1", "gpus=2", "gpus-per-task=1"]
    assert all(parse(text).asks_for_gpu for text in asking)
    assert not any(parse(text).asks_for_gpu for text in ("gres=lscratch:10", "mem=4G"))
    assert not SbatchOption("exclusive").asks_for_gpu
