"""Numbers on the command line: what they say, and not what Python would make of them."""

import pytest
from click.testing import CliRunner

from nas_service.cli.main import main

WORDS = [
    ("retrain", "s", "--trial-numbers"),
    ("retrain", "s", "--seeds"),
    ("run", "s.toml", "--workers"),
    ("run", "s.toml", "--seed"),
    ("data", "image_folder", "--size"),
    ("worker", "--study", "s", "--max-seconds"),
    ("worker", "--study", "s", "--lease"),
    ("launch", "slurm", "s", "--hours"),
    ("census", "s.toml", "--limit"),
    ("show", "s"),
    ("replay", "s"),
]


@pytest.mark.parametrize("words", WORDS, ids=[" ".join(words) for words in WORDS])
def test_what_is_no_number_is_refused(words):
    for text in ("1_0", "²", "٣", " 5", "nan", "inf", "0x10", "1e999", ""):
        done = CliRunner().invoke(main, [*words, text])
        refused = done.exit_code == 2 and isinstance(done.exception, SystemExit)
        assert refused, (text, done.exception)
        assert any(reason in done.stderr for reason in ("not a", "trial numbers")), done.stderr


def test_a_limit_in_which_a_worker_could_train_nothing_is_refused():
    done = CliRunner().invoke(main, ["worker", "--study", "s", "--max-seconds", "0.5"])
    assert done.exit_code == 2
    assert "0.5 is not in the range x>=1" in done.stderr
