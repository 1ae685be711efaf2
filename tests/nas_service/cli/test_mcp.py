"""`nas mcp`, asked by a client of the protocol."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.server import MCPServer

from nas_service.cli.mcp_tools import server_of
from nas_service.store.store import Store
from tests.support.stored_studies import REPORT, stored_study

BUDGET = [{"metric": "parameters", "at_most": 8}]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('mcp')}/nas.db"
    store = Store(url, create=True)
    stored_study(store, "small", [0.7, 0.9, None])
    stored_study(store, "tight", [None], constraints=BUDGET)
    store.close()
    return url


@pytest.fixture(scope="module")
def server(url: str) -> MCPServer:
    return server_of(url)


def ask(server: Any, tool: str, **arguments: Any) -> Any:
    """The answer of a tool: its document, or the text of its error."""

    async def call() -> Any:
        async with Client(server) as client:
            answer = await client.call_tool(tool, arguments)
        if answer.is_error:
            return answer.content[0].text  # type: ignore[union-attr]
        document = answer.structured_content or {}
        return document["result"] if set(document) == {"result"} else document

    return asyncio.run(call())


def test_every_tool_is_read_only_and_explains_itself(server: MCPServer) -> None:
    async def tools() -> list[Any]:
        async with Client(server) as client:
            return (await client.list_tools()).tools

    listed = asyncio.run(tools())
    names = {t.name for t in listed}
    assert names == {"studies", "status", "front", "trial", "why_rejected", "recost"}
    for tool in listed:
        assert tool.annotations.read_only_hint
        assert not tool.annotations.destructive_hint
        assert tool.description


def test_studies_status_and_front(server: MCPServer) -> None:
    assert [s["study"] for s in ask(server, "studies")] == ["small", "tight"]
    assert ask(server, "status", study="small")["counts"]["trained"] == 2
    front = ask(server, "front", study="small")["front"]
    assert {c["trial"] for c in front} == {0, 1}


def test_a_trial_and_why_it_was_rejected(server: MCPServer) -> None:
    assert ask(server, "trial", study="small", trial=1)["metrics"]["accuracy"] == 0.9
    why = ask(server, "why_rejected", study="tight", trial=0)
    assert (why["outcome"], why["reason"]) == ("rejected", "parameters over budget")
    over = why["over_budget"]["parameters"]
    assert over == {
        "budget": "parameters <= 8",
        "violation": pytest.approx(REPORT.parameters / 8 - 1),
    }


def test_recost(server: MCPServer) -> None:
    answer = ask(server, "recost", study="small", profile="spikesim_rram")
    assert answer["profile"] == "spikesim_rram"
    assert len(answer["changes"]) == 2
    tighter = ask(server, "recost", study="small", budgets={"parameters": 1})
    assert "parameters" in tighter["changes"][0]["reason"]


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("status", {"study": "smal"}, "smal"),
        ("trial", {"study": "small", "trial": 99}, "no finished trial 99"),
        ("trial", {"study": "small", "trial": "x"}, "trial"),
        ("recost", {"study": "small", "profile": "/etc/passwd"}, "unknown profile '/etc/passwd'"),
        ("recost", {"study": "small"}, "nothing"),
        ("recost", {"study": "small", "budgets": {"area": 1}}, "area"),
        ("delete", {"study": "small"}, "delete"),
    ],
)
def test_bad_questions_get_a_sentence(
    server: MCPServer, tool: str, arguments: dict[str, Any], text: str
) -> None:
    answer = ask(server, tool, **arguments)
    assert text in answer.lower()
    assert "Traceback" not in answer


def test_a_missing_store_is_named_and_not_created(tmp_path: Path) -> None:
    answer = ask(server_of(f"sqlite:///{tmp_path}/no.db"), "studies")
    assert "no.db" in answer
    assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_over_standard_input_and_output(url: str) -> None:
    command = ["-m", "nas_service", "mcp", "--storage", url]
    served = StdioServerParameters(command=sys.executable, args=command)
    assert [s["study"] for s in ask(served, "studies")] == ["small", "tight"]
