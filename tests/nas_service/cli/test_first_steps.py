"""What a newcomer meets: no store yet, no study yet, a wrong name, a budget that is spent."""

import pytest
import stored_studies as stored
from click.testing import CliRunner

from nas_service.cli.main import main
from nas_service.store.store import Store

READING = (  # verbs that need a store, and their words
    ("status", "digits"), ("front", "digits"), ("show", "digits", "3"), ("report", "digits"),
    ("studies",), ("dashboard",), ("recost", "digits", "--budget", "area_mm2=9"),
    ("export", "digits", "3", "--format", "torch"), ("replay", "digits", "3"),
    ("resume", "digits"), ("retrain", "digits"), ("worker", "--study", "digits"),
)  # fmt: skip
NAMING = [words for words in READING if words[0] not in ("studies", "dashboard")]


@pytest.fixture
def nas(tmp_path, monkeypatch):
    """Runs the command in an empty folder; its exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORAGE", raising=False)

    def run(*words):
        done = CliRunner().invoke(main, words)
        assert isinstance(done.exception, SystemExit | None), done.exception
        return done.exit_code, done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """URLs of a store without studies, and of one where the budget of the second is spent."""
    urls = []
    for budgets in ({}, {"digit": 3, "other": 2}):
        urls.append(f"sqlite:///{tmp_path_factory.mktemp('store')}/nas.db")
        store = Store(urls[-1], create=True)
        for name, trainings in budgets.items():
            stored.stored_study(store, name, (0.5, 0.6), search={"trainings": trainings})
        store.close()
    return urls


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_without_a_store_every_verb_says_how_to_begin(nas, tmp_path, words):
    code, out, err = nas(*words)
    assert (code, out) == (4, "")
    assert err.count("\n") == 1
    assert "nas.db: no such file, the store begins with `nas run STUDY.toml`" in err
    assert "`nas init` writes a study" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", NAMING, ids=lambda words: words[0])
def test_a_study_that_is_not_there_gets_a_suggestion(nas, stores, words):
    empty, full = stores
    code, _, err = nas(*words, "--storage", empty)
    assert code == 2
    assert err.endswith(f"{empty} has none yet, `nas run STUDY.toml` adds one\n")
    code, _, err = nas(*words, "--storage", full)
    assert code == 2
    hint = "(there: digit, other), did you mean 'digit'?"
    assert err == f"nas: no study 'digits' in {full} {hint}\n"


def test_a_store_without_studies_says_how_to_begin(nas, stores):
    code, out, err = nas("studies", "--storage", stores[0])
    assert (code, out) == (0, "")
    assert "no study yet: `nas run STUDY.toml` adds one" in err
    assert nas("studies", "--storage", stores[0], "--json") == (0, "[]\n", "")


def test_a_spent_budget_says_how_to_continue(nas, stores):
    _, out, _ = nas("status", "other", "--storage", stores[1])
    assert "`nas resume other --trainings N` continues until N trainings are done in all" in out
    _, out, _ = nas("status", "digit", "--storage", stores[1])
    assert "nas resume" not in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("front", "x", "--stroage", "y"), "'--storage'"),
        (("statsu", "x"), "'status'"),
        (("--verison",), "no option '--verison', did you mean '--version'?"),
        (("launch", "slrum", "x"), "'slurm'"),
        (("worker", "--study", "x", "--log-level", "eror"), "'error'"),
        (("export", "x", "1", "--format", "onx"), "'onnx'"),
        (("export", "x", "1"), "Missing option '--format'. One of safetensors, torch,"),
        (
            ("run", "x.toml", "--n-trials", "3"),
            "no option '--n-trials', did you mean '--trainings'?",
        ),
        (("run", "digit.toml"), "did you mean 'digits.toml'?"),
        (("check", "digits"), "did you mean 'digits.toml'?"),
        (("completion", "fsh"), "'fish'"),
        (("cost", "--validate", "nowhere"), "known: "),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_misspelt_word_gets_a_suggestion(nas, tmp_path, words, hint):
    (tmp_path / "digits.toml").touch()
    code, _, err = nas(*words)
    assert code == 2
    assert err.count("\n") == 1
    assert hint in err


def test_without_a_study_file_it_says_how_to_get_one(nas):
    code, _, err = nas("run", "digits.toml")
    assert code == 2
    assert err.endswith("; `nas init` writes a study to start from\n")


def test_a_group_of_commands_alone_prints_its_help(nas):
    code, out, err = nas("launch")
    assert code == 2
    assert "\n  slurm       Write a script for sbatch.\n" in out + err
