"""Who reaches the dashboard: reading requests alone, from this machine, with secure headers."""

import importlib
import json
from typing import Any

import pytest
import sqlalchemy
from dashboard_site import HOSTILE, Site, ask, fill, new_study
from optuna.storages import InMemoryStorage, RDBStorage

from nas_service.dashboard.server import make_app


def routes(reading: bool) -> list[tuple[str, str]]:
    """Method and a path for every route of the dashboard that reads, or that writes."""
    app = importlib.import_module("optuna_dashboard._app").create_app(InMemoryStorage())
    names = {
        "<study_id:int>": "1",
        "<trial_id:int>": "1",
        "<history_id>": "1",
        "<plot_type>": "pareto_front",
        "<filename:path>": "bundle.js",
        "<artifact_id:re:[0-9a-fA-F-]+>": "0",
        "<:re:(/.*)?>": "/studies/1",
    }
    result = []
    for route in app.routes:
        path = route.rule
        for placeholder, value in names.items():
            path = path.replace(placeholder, value)
        assert "<" not in path, f"a new kind of route: {path}"
        if (route.method == "GET") == reading:
            result.append((route.method, path))
    return result


BODIES = {
    "tell": {"state": "Complete", "values": ["nan", 0]},
    "note": {"version": 1, "body": "x"},
    "rename": {"study_name": "y"},
    "user-attrs": {"user_attrs": {"outcome": "trained"}},
    "studies": {"study_name": "new", "directions": ["minimize"]},
}


def test_no_route_writes(site: Site) -> None:
    before = site.content()
    writing = routes(reading=False)
    assert ("DELETE", "/api/studies/1") in writing
    assert ("POST", "/incompatible-rdb-schema") in writing
    for method, path in writing:
        body = json.dumps(BODIES.get(path.rsplit("/", 1)[1], {}))
        answer = site.ask(path, method, body=body)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD"), (method, path)
    assert site.content() == before
    assert [s["study_name"] for s in site.ask("/api/studies").json["study_summaries"]] == [
        "digits",
        HOSTILE,
    ]


VERBS = "POST PUT DELETE PATCH OPTIONS TRACE CONNECT PROPFIND BREW get GETX ANY PROXY"


@pytest.mark.parametrize("verb", VERBS.split())
def test_other_verbs_are_refused(site: Site, verb: str) -> None:
    for path in ("/", "/dashboard", "/api/studies", "/nowhere", "/static/x"):
        answer = site.ask(path, verb)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD"), path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override"])
def test_no_header_turns_a_get_into_a_delete(site: Site, header: str) -> None:
    before = site.content()
    assert site.ask("/api/studies/1?_method=DELETE", headers={header: "DELETE"}).status == 200
    assert site.content() == before


def test_reading_sends_the_database_nothing_but_select(storage: RDBStorage) -> None:
    fill(new_study(storage, "digits", "maximize", "minimize"))
    sent: list[str] = []

    @sqlalchemy.event.listens_for(storage.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement.split()[0].upper())

    app = make_app(storage, port=8080)
    statuses = {path: ask(app, path).status for _, path in routes(reading=True)}
    for plot in ("contour", "slice", "parallel_coordinate", "rank", "edf", "timeline"):
        ask(app, f"/api/studies/1/plot/{plot}")
    assert statuses["/api/studies/1"] == statuses["/csv/1"] == 200
    assert statuses["/api/studies/1/plot/pareto_front"] == 200
    assert statuses["/incompatible-rdb-schema"] == 302  # to the dashboard: nothing to migrate
    assert set(sent) == {"SELECT"}


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}"])
def test_local_host_names_are_served(site: Site, host: str) -> None:
    assert site.ask("/api/studies", host=host.format(site.port)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "evil.example",
        "evil.example:{}",
        "127.0.0.1:{}@evil.example",
        "evil.example@127.0.0.1:{}",
        "user:password@localhost:{}",
        "127.0.0.1:{}.evil.example",
        "127.0.0.1.evil.example:{}",
        "localhost.:{}",
        "0.0.0.0:{}",
        "127.1:{}",
        "127.0.0.1:{},evil.example",
        "127.0.0.1:{}/",
        "127.0.0.1:0{}",
    ],
)
def test_a_foreign_host_is_refused(site: Site, host: str) -> None:
    for method in ("GET", "HEAD", "POST"):
        answer = site.ask("/api/studies", method, host=host.format(site.port))
        assert answer.status == 403, method
        assert b"digits" not in answer.body, method


@pytest.mark.parametrize(
    "request_",
    [
        "GET /api/studies HTTP/1.0\r\n\r\n",  # no Host at all
        "GET /api/studies HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nHost: evil.example\r\n\r\n",
        "GET http://127.0.0.1:{}/api/studies HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /api/studies HTTP/1.0\r\nX-Forwarded-Host: 127.0.0.1:{}\r\n\r\n",
        "GET /api/studies\r\n\r\n",  # HTTP 0.9
    ],
)
def test_no_host_and_two_hosts_are_refused(site: Site, request_: str) -> None:
    answer = site.raw(request_.format(site.port))
    assert b"This dashboard answers requests to http://127.0.0.1" in answer
    assert b"digits" not in answer


def test_port_80_needs_no_number() -> None:
    app = make_app(InMemoryStorage(), port=80)
    assert ask(app, "/api/studies", HTTP_HOST="localhost").status == 200
    assert ask(app, "/api/studies", HTTP_HOST="localhost:80").status == 200
    assert ask(app, "/api/studies", HTTP_HOST="localhost:8080").status == 403


def test_head_has_the_headers_and_no_body(site: Site) -> None:
    for path in ("/dashboard", "/api/studies", "/static/bundle.js"):
        got, head = site.ask(path), site.ask(path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert site.ask("/", "HEAD", host="evil.example").body == b""


PATHS = """/ /dashboard /api/studies /api/studies/1 /api/studies/99 /api/studies/1?after=x /nowhere
    /static/bundle.js /csv/1 /csv/2 /artifacts/1/0 /favicon.ico"""


@pytest.mark.parametrize("path", PATHS.split())
def test_every_answer_has_the_security_headers(site: Site, path: str) -> None:
    headers = site.ask(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


def test_the_page_keeps_its_own_policy(site: Site) -> None:
    policy = site.ask("/dashboard").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "script-src 'self'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1]


def test_a_forwarded_host_does_not_lead_elsewhere(site: Site) -> None:
    answer = site.ask("/", headers={"X-Forwarded-Host": "evil.example"})
    assert answer.status == 302
    assert answer.headers["Location"] == f"http://127.0.0.1:{site.port}/dashboard"


def test_files_beside_the_static_ones_are_out_of_reach(site: Site) -> None:
    for path in ("/static/../_app.py", "/static/%2e%2e/_app.py", "/static/..%2f_app.py"):
        assert site.ask(path).status in (403, 404)


def test_a_client_that_names_no_encoding_is_served() -> None:
    app = make_app(InMemoryStorage(), port=8080)
    assert ask(app, "/static/bundle.js").status == 200


def test_a_hostile_study_is_data(site: Site) -> None:
    listing = site.ask("/api/studies")
    assert listing.headers["Content-Type"] == "application/json"
    study = listing.json["study_summaries"][1]
    assert study["study_name"] == HOSTILE
    assert study["user_attrs"] == [{"key": HOSTILE, "value": HOSTILE}]
    assert "\x1b" not in listing.body.decode()  # JSON says it as \u001b
    detail = site.ask("/api/studies/2").json
    assert {"key": "outcome", "value": HOSTILE} in detail["trials"][0]["user_attrs"]
    assert [trial["number"] for trial in detail["best_trials"]] == [1]
    csv = site.ask("/csv/2")
    assert csv.headers["Content-Type"].startswith("text/csv")
    assert csv.headers["Content-Disposition"].startswith("attachment")
    assert all(c.isprintable() for value in csv.headers.values() for c in value)
