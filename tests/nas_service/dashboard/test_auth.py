"""The dashboard's token: which requests it admits, and which files can hold it."""

import base64
import threading
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner
from optuna.storages import InMemoryStorage

from nas_service.cli.main import main
from nas_service.dashboard.auth import read_token
from nas_service.dashboard.server import make_app, serve
from nas_service.errors import NasError
from nas_service.worker import health

EVERYWHERE = "0.0.0.0"  # noqa: S104  with a token
TOKEN = "0123456789abcdef0123456789abcdef"


def basic(word: str) -> str:
    return "Basic " + base64.b64encode(word.encode()).decode()


@pytest.fixture(scope="module")
def app():
    return make_app(InMemoryStorage(), port=8080, token=TOKEN)


def status(app, authorization, method="GET", host="localhost:8080"):
    """The answer's status, headers and body."""
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": "/api/studies",
        "HTTP_HOST": host,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8080",
        "wsgi.url_scheme": "http",
        "QUERY_STRING": "",
    }
    if authorization is not None:
        environ["HTTP_AUTHORIZATION"] = authorization
    response = []
    body = b"".join(app(environ, lambda *words: response.extend(words)))
    return int(response[0][:3]), dict(response[1]), body


@pytest.mark.parametrize("name", ["nas", "", "anyone"])
def test_the_token_opens(app, name):
    assert status(app, basic(f"{name}:{TOKEN}"))[0] == 200
    assert status(app, basic(f"{name}:{TOKEN}").replace("Basic", "basic"))[0] == 200


WRONG = [None, "", "Basic", "Basic ", "Basic !", "Basic é", f"Bearer {TOKEN}", TOKEN, basic(TOKEN),
         basic(":"), basic(f":{TOKEN[:-1]}"), basic(f":{TOKEN}0"), basic(f":{TOKEN}\n"),
         basic(f"x:y:{TOKEN}")]  # fmt: skip


@pytest.mark.parametrize("word", WRONG)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_other_authorization_is_refused(app, word, method):
    code, headers, body = status(app, word, method)
    assert code == 401
    assert headers["WWW-Authenticate"].startswith("Basic ")
    assert headers["X-Frame-Options"] == "DENY"
    assert bool(body) == (method == "GET")
    assert b"studies" not in body


def test_the_token_permits_neither_writing_nor_other_hosts(app):
    assert status(app, basic(f":{TOKEN}"), "DELETE")[0] == 405
    assert status(app, basic(f":{TOKEN}"), host="example.org:8080")[0] == 403


@pytest.mark.parametrize(
    ("text", "rights", "message"),
    [
        (TOKEN, 0o644, "chmod 600"),
        (TOKEN, 0o620, "chmod 600"),
        (TOKEN[:-1], 0o600, "31 characters"),
        ("\n", 0o600, "the file is empty"),
        ("é" * 40, 0o600, "letters without accents"),
        (f"{TOKEN} {TOKEN}", 0o600, "one word"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path, text, rights, message):
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(rights)
    with pytest.raises(NasError, match=message):
        read_token(path)


def test_a_token_is_read_from_its_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o440)
    assert read_token(path) == TOKEN
    with pytest.raises(NasError, match="No such file"):
        read_token(tmp_path / "none")


def test_another_host_needs_a_token_and_then_answers(tmp_path):
    """As in a container whose port is published on the loopback."""
    ready, seen = threading.Event(), []

    def listening(url):
        seen.append(url)
        ready.set()

    storage, options = InMemoryStorage(), {"host": EVERYWHERE, "port": 0, "token": TOKEN}
    threading.Thread(
        target=serve, args=(storage,), kwargs={**options, "on_ready": listening}, daemon=True
    ).start()
    assert ready.wait(90)
    url = seen[0].replace(EVERYWHERE, "127.0.0.1")
    assert health.page(url, TOKEN) == ""
    assert "401" in health.page(url, None)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url)
    assert refused.value.code == 401
    refused.value.close()
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    with pytest.raises(SystemExit) as ended:
        health.main(["page", url, str(token_file)])
    assert ended.value.code == 0


def test_without_a_token_the_command_stays_on_the_loopback(tmp_path):
    storage = f"sqlite:///{tmp_path}/nas.db"
    (tmp_path / "short").write_text("secret")
    (tmp_path / "short").chmod(0o600)
    for words, message in (((), "no such file"), (("--token-file", f"{tmp_path}/short"), "6 char")):
        done = CliRunner().invoke(main, ["dashboard", "--storage", storage, *words])
        assert message in done.output
