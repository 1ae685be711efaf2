"""Pages of the project: the commands, options, files, links and keys they name are there."""

import re
import tomllib
from pathlib import Path

import click
import pytest

from nas_service.cli.main import main
from nas_service.study.loading import load_spec

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]
DOCUMENTS = sorted(PAGES, key=lambda p: p.name)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])\b")


def code(text):
    """Text in backticks, and every line of the fenced blocks without comments."""
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", text))
    lines = [line for _, block in FENCE.findall(text) for line in block.splitlines()]
    return [*spans, *(line.split("#")[0].strip() for line in lines)]


def commands(text, start):
    return [words for words in code(text) if words.startswith(f"{start} ")]


ALL = "\n".join(path.read_text() for path in DOCUMENTS)


@pytest.mark.parametrize("words", sorted(set(commands(ALL, "nas"))))
def test_commands_have_the_options_that_are_named(words):
    command: click.Command | None = main
    names = iter(re.findall(r"[a-z]+", words.removeprefix("nas ")))
    while isinstance(command, click.Group):
        name = next(names)
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"no command {name!r}"
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    known = {option for parameter in shown for option in parameter.opts}
    assert [option for option in OPTION.findall(words) if option not in known] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_benchmarks_have_the_options_that_are_named(path):
    for words in commands(path.read_text(), "python"):
        if script := re.search(r"benchmarks/\w+\.py", words):
            source = (ROOT / script[0]).read_text()
            assert [o for o in OPTION.findall(words) if f'"{o}"' not in source] == [], words


@pytest.mark.parametrize("path", [*DOCUMENTS, CONTRIBUTING], ids=lambda path: path.name)
def test_named_files_exist(path):
    kinds = "benchmarks|docs|hw_models|nas_service|studies|tests"
    named = re.findall(rf"(?<![\w./])((?:{kinds})/[\w./-]+\w)", path.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", [*DOCUMENTS, CONTRIBUTING], ids=lambda path: path.name)
def test_links_lead_to_files(path):
    text = FENCE.sub("", path.read_text())
    assert [link for link in LINK.findall(text) if not (path.parent / link).exists()] == []


def cells(row):
    return row.strip("|").replace("\\|", "").count("|")


@pytest.mark.parametrize("path", [*DOCUMENTS, CONTRIBUTING], ids=lambda path: path.name)
def test_rows_of_a_table_have_equally_many_cells(path):
    text = FENCE.sub("", path.read_text())
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({cells(row) for row in table.splitlines()}) == 1, table


def test_every_command_is_in_the_readme():
    documented = {
        re.findall(r"[a-z]+", words)[1] for words in commands(DOCUMENTS[0].read_text(), "nas")
    }
    assert DOCUMENTS[0].name == "README.md"
    assert set(main.list_commands(click.Context(main))) <= documented


TOML = [block for kind, block in FENCE.findall(ALL) if kind == "toml"]


@pytest.mark.parametrize("block", TOML, ids=lambda block: block.split("]")[0].strip("["))
def test_parts_of_studies_are_valid(block, tmp_path):
    """Beside the parts of studies/digits.toml that they do not replace."""
    digits = (ROOT / "studies" / "digits.toml").read_text()
    parts = re.split(r"^(?=\[)", digits, flags=re.MULTILINE)
    kept = [part for part in parts if part.split("]")[0].strip("[") not in tomllib.loads(block)]
    path = tmp_path / "study.toml"
    path.write_text("".join([*kept, "\n", block]))
    load_spec(path)
