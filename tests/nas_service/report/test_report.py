"""The report of real stores: self-contained, escaped, and with something to say when empty."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from click.testing import CliRunner
from reported_studies import CELL, evaluation, spec

from nas_service import report
from nas_service.cli.main import main
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.sections import Objective


def test_eighty_columns_hold_a_front_of_five_metrics(opened, tmp_path):
    opened([evaluation(4, 0.9)], parameters=1e6, area_mm2=1e3, latency_ms=1e3)
    words = ["front", "drawn", "--storage", f"sqlite:///{tmp_path}/nas.db"]
    shown = CliRunner().invoke(main, words, env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.output
    assert "…" not in shown.output
    assert {"trial", "accuracy", "parameters", "epochs"} <= set(shown.output.split())
    assert max(len(line.rstrip()) for line in shown.output.splitlines()) <= 80


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_front_is_plotted_and_listed(opened, tmp_path):
    result = opened([evaluation(4, 0.9), evaluation(8, 0.95), evaluation(6, None, "<b>over</b>")])
    path = report.write(result, tmp_path / "deep" / "r.html")
    text = path.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.seen.count("script") == 1
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?http", text)
    assert [c.trial for c in result.front] == [1, 0]
    for c in result.front:
        assert f'<details class="card" id="trial-{c.trial}"' in text
    plot = text[text.index('<svg class="plot"') : text.index('<ul class="legend">')]
    assert plot.count('class="front"') == 2
    assert plot.count('class="rejected"') == 1
    assert "not measured" in text
    assert "--test</code> measures" in text
    assert [p.name for p in path.parent.iterdir()] == ["r.html"]


def test_an_empty_front_is_reported(opened):
    text = report.render(opened([evaluation(4, 0.9)], energy=1e-9))
    assert "No candidate is feasible" in text
    assert 'class="front"' not in text
    assert "Nearest misses" in text


def test_a_second_objective_that_only_a_training_measures_is_drawn(opened):
    """A rejected candidate has no place over it."""
    result = opened([evaluation(4, 0.9), evaluation(6, None, "over budget", ("energy_uJ",))])
    accuracy, _ = result.spec.objectives
    fired = Objective(metric="spike_rate", direction="minimize", reference=1.0)
    objectives = result.spec.model_copy(update={"objectives": (accuracy, fired)})
    text = report.render(replace(result, spec=objectives))
    assert text.count("trial 0, trained") >= 1
    assert "trial 1, rejected" not in text


def test_proposals_are_counted_by_outcome(opened):
    """Two of four were rejected, one of them by two budgets."""
    rejected = [
        evaluation(6, None, "both over budget", ("energy_uJ", "area_mm2")),
        evaluation(8, None, "energy_uJ 5 % over budget", ("energy_uJ",)),
    ]
    result = opened([evaluation(4, 0.9), evaluation(5, 0.9), *rejected])
    assert result.rejected_by == {"energy_uJ": 2, "area_mm2": 1}
    assert result.shares["trained"] == result.shares["rejected"] == 0.5
    assert sum(result.shares.values()) == 1
    assert result.summary == (
        "4 proposals: 2 trained (50.0 %), 2 rejected (50.0 %)",
        "rejected by: energy_uJ 2, area_mm2 1",
    )
    text = report.render(result)
    assert "<td>rejected before training</td><td>2</td><td>50.0 %</td>" in text
    assert "<td>area</td><td>1</td><td>50.0 %</td>" in text


def test_nearest_misses_name_the_repair(opened):
    reason = "energy_uJ 20 % over budget; fits with channels 8 -> 4"
    text = report.render(opened([evaluation(8, None, reason)], energy=1e-9))
    assert "<p>energy_uJ 20 % over budget; fits with channels 8 -&gt; 4</p>" in text


def test_empty_study(opened):
    text = report.render(opened([]))
    assert "This study has no trial yet" in text
    assert "Nothing to draw yet" in text


def test_stored_text_is_escaped(opened):
    hostile = evaluation(4, 0.9)
    hostile = Evaluation(**{**vars(hostile), "versions": {"<script>alert(1)</script>": "\x1b[31m"}})
    text = report.render(opened([hostile]))
    assert text.count("<script") == 1
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text


def test_an_evaluator_of_the_shipped_data_screens(tmp_path):
    """The reasons for a rejection: no path, budget, memory."""
    evaluator = Evaluator.open(spec(energy=1e-6), tmp_path)
    dead = Architecture((Cell(("zeroize",) * 6), CELL), 4, 1, 8, 2, 8)
    assert evaluator.screen(dead, 0).reason.startswith("no path from input to output;")
    live = Architecture((CELL, CELL), 4, 1, 8, 2, 8)
    assert "energy_uJ" in evaluator.screen(live, 0).reason
    wide = Architecture((CELL, CELL), 1024, 1, 65536, 64, 8)
    assert "GiB of 4" in evaluator.screen(wide, 0).reason
