"""Where the parts of a plot lie."""

import re

import pytest

from nas_service.report.drawing import WIDTH, Mark, plot

LETTER = 7  # widest pixels of a letter of a note


@pytest.mark.parametrize("budget", [0.05, 0.3, 0.5, 0.7, 1.0])
def test_the_label_of_a_budget_lies_inside_the_picture(budget):
    marks = [Mark(x, 0.9, "front", "") for x in (0.05, 0.5, 0.95)]
    drawn = str(plot(marks, "x", "y", x_bounds=(budget,), y_bounds=()))
    x, kind, text = re.search(
        r'<text x="([^"]+)" y="[^"]+" class="(note[^"]*)">(budget [^<]+)<', drawn
    ).groups()
    length = LETTER * len(text)
    left = float(x) - length if kind == "note end" else float(x)
    assert left >= 0
    assert left + length <= WIDTH
