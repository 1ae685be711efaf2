"""`nas-health`, which a container runs every few seconds."""

import pytest

from nas_service.worker import health


def ended(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        health.main(list(arguments))
    return end.value.code, capsys.readouterr().err


def test_a_pulse(tmp_path, capsys):
    pulse = tmp_path / "pulse"
    assert ended(capsys, "pulse", str(pulse), "60")[0] == 1
    pulse.touch()
    assert ended(capsys, "pulse", str(pulse), "60") == (0, "")


@pytest.mark.parametrize("seconds", ["²", "٣", "1_0", "-1", "nan", ""])
def test_seconds_are_digits(tmp_path, seconds, capsys):
    code, text = ended(capsys, "pulse", str(tmp_path), seconds)
    assert (code, text) == (2, f"{health.USAGE}\n")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa"])
def test_a_token_file_that_cannot_be_read_is_named(tmp_path, content, capsys):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    code, text = ended(capsys, "page", "http://127.0.0.1:1/", str(path))
    assert (code, text.startswith(f"{path}: cannot be read ("), "Errno" in text) == (1, True, False)
