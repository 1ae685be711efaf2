"""Draws docs/architecture.svg: the rooms of the code and which room imports which.

Everything in the picture is read from the import statements, so it is as true as the code.
`python docs/architecture.py` writes it; tests/test_architecture.py compares it with the code.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw_models", "nas_service")
PICTURE = ROOT / "docs" / "architecture.svg"
# Rooms from the innermost to the outermost: a room imports only rooms that come before it.
RINGS = (
    ("hw_models", "what silicon costs"),
    ("synonyms", "words that people use"),
    ("errors", "what is raised"),
    ("statistics", "intervals and tests"),
    ("spaces", "candidates as data"),
    ("metrics", "what is measured"),
    ("text", "numbers as people read them"),
    ("study", "the study file as data"),
    ("data", "data sets"),
    ("snn", "candidates as networks"),
    ("importers", "networks of others"),
    ("evaluation", "one candidate measured"),
    ("samplers", "who proposes"),
    ("store", "the SQL study store"),
    ("searches", "one search: begin, stop, read"),
    ("worker", "the process that works on it"),
    ("launch", "workers elsewhere"),
    ("report", "the HTML report"),
    ("export", "networks that are taken away"),
    ("dashboard", "web pages, read-only"),
    ("api", "the Python interface"),
    ("cli", "the command nas"),
)
Graph = dict[str, set[str]]


def module_files() -> dict[str, Path]:
    """Every module of the two packages by its dotted name."""
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return {_dotted(path.relative_to(ROOT)): path for path in files}


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def import_graph() -> Graph:
    """What each module imports of ours, wherever in the module the statement is.

    Returns:
        Dotted names of the imported modules by the dotted name of the importing one.
    """
    files = module_files()
    return {name: _imports(name, path, files) for name, path in files.items()}


def _imports(name: str, path: Path, files: Mapping[str, Path]) -> set[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    named = {target for node in ast.walk(tree) for target in _targets(node, package, files)}
    return {target for target in named if target in files} - {name}


def _targets(node: ast.AST, package: str, files: Mapping[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        outer = parts[: len(parts) - node.level + 1] if node.level else []
        base = ".".join([*outer, *filter(None, [node.module])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in files else base


def room_of(module: str) -> str:
    """The room that a module is in; what starts the program counts with what it starts."""
    package, _, rest = module.partition(".")
    if package == "hw_models":
        return package
    return {"": "api", "__main__": "cli"}.get(rest, rest.partition(".")[0])


def room_graph(modules: Graph) -> Graph:
    """Which room imports which, from what their modules import."""
    rooms: Graph = {room_of(module): set() for module in modules}
    for module, imported in modules.items():
        rooms[room_of(module)] |= {room_of(other) for other in imported} - {room_of(module)}
    return rooms


def circle(graph: Graph) -> list[str]:
    """A circle of imports, its first name again at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


def floors(rooms: Graph) -> dict[str, int]:
    """How high each room is: one above the highest room that it imports."""
    heights: dict[str, int] = {}
    for room in (name for name, _ in RINGS if name in rooms):
        heights[room] = max((heights[r] + 1 for r in rooms[room] if r in heights), default=0)
    return heights


def direct(rooms: Graph) -> Iterator[tuple[str, str]]:
    """Imports that do not follow from others: the arrows of the picture."""
    below = _everything_below(rooms)
    for room, imported in rooms.items():
        for other in sorted(imported):
            if not any(other in below[third] for third in imported - {other}):
                yield room, other


def _everything_below(rooms: Graph) -> Graph:
    below: Graph = {}
    for room in sorted(rooms, key=floors(rooms).__getitem__):
        below[room] = rooms[room].union(*(below[other] for other in rooms[room]))
    return below


WIDTH, HEIGHT, GAP_x, GAP_y, LANE = 196, 46, 26, 44, 11
MARGIN = 8 * LANE  # beside the boxes run the arrows that pass more than one row


def places(rooms: Graph) -> dict[str, tuple[int, int]]:
    """Upper left corners of the boxes, in pixels; the outermost room is on top."""
    heights = floors(rooms)
    rows = [[r for r, h in heights.items() if h == n] for n in range(max(heights.values()) + 1)]
    widest = max(map(len, rows))
    corners = {}
    for height, row in enumerate(reversed(rows)):
        left = MARGIN + (widest - len(row)) * (WIDTH + GAP_x) // 2
        for column, room in enumerate(row):
            corners[room] = (left + column * (WIDTH + GAP_x), GAP_y + height * (HEIGHT + GAP_y))
    return corners


def draw(modules: Graph) -> str:
    """The picture as SVG text."""
    rooms = room_graph(modules)
    corners = places(rooms)
    width = max(x for x, _ in corners.values()) + WIDTH + MARGIN
    height = max(y for _, y in corners.values()) + HEIGHT + GAP_y
    boxes = [_box(room, corners[room]) for room in corners]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
    )
    return head + "\n".join([*_arrows(rooms, corners, width), *boxes]) + "\n</svg>\n"


def _arrows(rooms: Graph, corners: Mapping[str, tuple[int, int]], width: int) -> Iterator[str]:
    lanes = {"left": 0, "right": 0}
    for upper, lower in direct(rooms):
        (x1, y1), (x2, y2) = corners[upper], corners[lower]
        lane = None
        if y2 - y1 > HEIGHT + GAP_y:
            side = "left" if (x1 + x2 + WIDTH, lanes["left"]) < (width, lanes["right"]) else "right"
            lanes[side] += 1
            lane = lanes[side] * LANE if side == "left" else width - lanes[side] * LANE
        yield _arrow((x1 + WIDTH // 2, y1 + HEIGHT), (x2 + WIDTH // 2, y2), lane)


def _arrow(start: tuple[int, int], end: tuple[int, int], lane: int | None) -> str:
    (x1, y1), (x2, y2), bend = start, end, GAP_y
    line = f"M{x1},{y1} C{x1},{y1 + bend} {x2},{y2 - bend} {x2},{y2 - 6}"
    if lane is not None:
        turn = min(2 * bend, (y2 - y1) // 2)
        down = f"C{x1},{y1 + bend} {lane},{y1} {lane},{y1 + turn}"
        line = f"M{x1},{y1} {down} V{y2 - turn} C{lane},{y2} {x2},{y2 - bend} {x2},{y2 - 6}"
    head = f"M{x2 - 4},{y2 - 8} L{x2},{y2} L{x2 + 4},{y2 - 8} Z"
    return (
        f'<path d="{line}" fill="none" stroke="#9aa5b1" stroke-width="1.2"/>'
        f'<path d="{head}" fill="#9aa5b1"/>'
    )


def _box(room: str, corner: tuple[int, int]) -> str:
    x, y = corner
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
        f'fill="#eef3f8" stroke="#4a6785"/>'
        f'<text x="{x + 10}" y="{y + 19}" font-size="14" font-weight="bold">{room}</text>'
        f'<text x="{x + 10}" y="{y + 36}" font-size="11" fill="#333">{dict(RINGS)[room]}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(import_graph()))
