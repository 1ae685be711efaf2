"""Rows of bars as a grid of name, bar and value. A bar's lengths are shares of its width."""

from collections.abc import Iterable

from markupsafe import Markup

from nas_service.report.colours import component
from nas_service.report.plots import Bars, Fill, Grid, Span, Timeline
from nas_service.text import percent, quantity

RECT = Markup('<rect x="{}%" y="{}" width="{}%" height="{}" {}>{}</rect>')


def bars(plot: Bars) -> Markup:
    """Stacked bars with a legend of their components."""
    outlines = plot.outlines or (None,) * len(plot.rows)
    rows = [
        (
            name,
            _stack(plot, name, dict(parts), outline),
            plot.shown(sum(parts.values())),
        )
        for (name, parts), outline in zip(plot.rows, outlines, strict=True)
    ]
    names = dict.fromkeys(part for _, parts in plot.rows for part in plot.parts(parts))
    return _rows(rows) + _legend(names)


def _stack(plot: Bars, name: str, values: dict[str, float], outline: float | None) -> Markup:
    at, rects = 0.0, []
    for part, value in plot.parts(values).items():
        share = 100 * value / plot.largest
        fill = Markup('fill="{}"').format(component(part))
        rects.append(_rect(at, share, fill, f"{name}: {_words(part)} {plot.shown(value)}"))
        at += share
    if outline is not None:
        share = 100 * outline / plot.largest
        rects.append(_rect(0, share, Markup('class="outline"'), f"{name}: {plot.shown(outline)}"))
    return _bar(rects)


def timeline(plot: Timeline) -> Markup:
    """Layers as bars over the time of one inference."""
    rows = [(span.name, _span(span, plot.last_s), _share(span)) for span in plot.spans]
    ends = Markup("<b>0</b><b>{}</b>").format(quantity(plot.last_s, "s"))
    scale = Markup('<span></span><span class="scale">{}</span><span></span>').format(ends)
    return _rows(rows, scale)


def _span(span: Span, last_s: float) -> Markup:
    kind = Markup('class="{}"').format("longest" if span.share else "busy")
    tip = f"{span.name}: {quantity(span.start_s, 's')} to {quantity(span.end_s, 's')}"
    width = max(0.4, 100 * (span.end_s - span.start_s) / last_s)
    return _bar([_rect(100 * span.start_s / last_s, width, kind, tip)])


def _share(span: Span) -> str:
    return percent(span.share, 2) if span.share else ""


def fill(plot: Fill) -> Markup:
    """Bars that are filled by a share."""
    empty, busy = Markup('class="empty"'), Markup('class="busy"')
    rows = [
        (name, _bar([_rect(0, 100, empty, text), _rect(0, 100 * share, busy, text)]), text)
        for name, share, text in plot.rows
    ]
    return _rows(rows)


def grid(plot: Grid) -> Markup:
    """A table of shares, each with a bar."""
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in plot.columns)
    line = Markup("<tr><th>{}</th>{}</tr>")
    body = Markup("").join(
        line.format(name, Markup("").join(map(_share_cell, shares))) for name, shares in plot.rows
    )
    tag = Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="importance">'
        '<table class="wide shares">'
        "<thead><tr><th>parameter</th>{}</tr></thead><tbody>{}</tbody></table></div>"
    )
    return tag.format(head, body)


def _share_cell(share: float | None) -> Markup:
    if share is None:
        return Markup("<td>-</td>")
    bar = _bar([_rect(0, 100 * share, Markup('class="busy"'), "")])
    return Markup("<td>{}{} %</td>").format(bar, round(100 * share))


def _rect(start: float, width: float, look: Markup, tip: str) -> Markup:
    title = Markup("<title>{}</title>").format(tip) if tip else Markup("")
    return RECT.format(round(start, 2), 2, round(width, 2), 14, look, title)


def _bar(rects: Iterable[Markup]) -> Markup:
    return Markup('<svg class="bar">{}</svg>').format(Markup("").join(rects))


def _rows(rows: Iterable[tuple[str, Markup, str]], last: Markup | None = None) -> Markup:
    tag = Markup('<span title="{0}">{0}</span>{1}<span>{2}</span>')
    body = Markup("").join(tag.format(name, bar, value) for name, bar, value in rows)
    return Markup('<div class="bars">{}{}</div>').format(body, last or "")


def _legend(names: Iterable[str]) -> Markup:
    tag = Markup(
        '<li><svg width="11" height="11" aria-hidden="true">'
        '<rect width="11" height="11" fill="{}"/></svg>{}</li>'
    )
    items = (tag.format(component(name), _words(name)) for name in names)
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _words(name: str) -> str:
    return name.replace("_", " ")
