"""A cell: a small directed graph of operations, its wiring and its canonical form.

A cell has four nodes: 0 is its input, 3 its output, a node is the sum of its incoming edges, and
each of the six pairs i, j (i < j) carries one operation, from i to j or, in backward mode, from j
to i one time step late (Kim et al., ECCV 2022, section 3).
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from nas_service.errors import SpecError
from nas_service.spaces.operations import BACK, Operation, operation

EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))

EDGE_NAMES = tuple(f"{source}{target}" for source, target in EDGES)

OUTPUT = 3

IN, OUT = "in", "out"  # a cell's input and output, beside the names of its edges

# A term of a node's sum: (operation, edge that holds its weights or -1, what it is applied to).
# The cell's input is the term ("x", -1, ()).
Term = tuple[str, int, tuple["Term", ...]]
_INPUT: Term = ("x", -1, ())


@dataclass(frozen=True)
class Edge:
    """One working edge of a cell, in the direction in which it sends."""

    pair: int  # its position in EDGES
    source: int
    target: int
    operation: Operation
    backward: bool

    @property
    def name(self) -> str:
        """Source and target, like `01`."""
        return f"{self.source}{self.target}"


@dataclass(frozen=True)
class Reads:
    """What a weighted edge, or a cell's output, reads: names of weighted edges, or IN."""

    now: tuple[str, ...] = ()  # whose outputs of the same time step are read
    late: tuple[str, ...] = ()  # whose outputs of the time step before are read


@dataclass(frozen=True)
class Cell:
    """One operation per pair of nodes, in the order of EDGES.

    `back:NAME` leads from the later node to the earlier one: the output of the later node at time
    step t is added to that of the earlier node at t + 1 (SNASNet's backward mode).
    """

    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.operations) != len(EDGES):
            raise SpecError(f"a cell has {len(EDGES)} edges, not {len(self.operations)}")
        for state in self.operations:
            if not operation(state).carries and state.startswith(BACK):
                raise SpecError(f"{state!r}: an edge that carries nothing has no direction")

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The edges that carry something, in the order of EDGES."""
        edges = []
        for pair, (state, ends) in enumerate(zip(self.operations, EDGES, strict=True)):
            if operation(state).carries:
                backward = state.startswith(BACK)
                source, target = reversed(ends) if backward else ends
                edges.append(Edge(pair, source, target, operation(state), backward))
        return tuple(edges)

    @property
    def recurrent(self) -> bool:
        """True where a live edge leads backward."""
        return any(edge.backward for edge in self.live().edges)

    def live(self) -> "Cell":
        """The cell without the edges that are on no path from node 0 to node 3."""
        edges = self.edges
        from_input = _reached({0}, [(e.source, e.target) for e in edges])
        to_output = _reached({OUTPUT}, [(e.target, e.source) for e in edges])
        keep = {e.pair for e in edges if e.source in from_input and e.target in to_output}
        names = (n if pair in keep else "zeroize" for pair, n in enumerate(self.operations))
        return Cell(tuple(names))

    def wiring(self) -> dict[str, Reads]:
        """What each weighted edge, and the cell's output, reads.

        Skips and poolings pass on what they read, over a backward edge one time step late.

        Returns:
            Reads by the name of the edge, or OUT, in an order in which they can run.
        """
        nodes: list[set[tuple[str, bool]]] = [{(IN, False)}, set(), set(), set()]
        while True:
            before = [len(node) for node in nodes]
            for edge in self.edges:
                if nodes[edge.source]:
                    nodes[edge.target] |= _sent(edge, nodes[edge.source])
            if before == [len(node) for node in nodes]:
                break
        weighted = [e for e in self.edges if e.operation.weighted and nodes[e.source]]
        weighted.sort(key=lambda e: (not e.backward, e.pair))
        reads = {e.name: _reads(nodes[e.source], e.backward) for e in weighted}
        return {**reads, OUT: _reads(nodes[OUTPUT], False)}

    @property
    def additions(self) -> int:
        """Additions, or comparisons, of whole maps: where edges meet, and in pooling windows."""
        used = self.edges
        first = len({e.target for e in used} - {0})  # into node 0 the cell's input comes first
        return sum(e.operation.additions for e in used) + len(used) - first

    @property
    def connected(self) -> bool:
        """True where at least one path leads from the input to the output."""
        return bool(self.live().edges)

    def expression(
        self, *, linear: bool = True, tokens: tuple[str, ...] | None = None
    ) -> tuple[Term, ...]:
        """Node 3 as a sum of terms over the input: skips are copies, zeroized edges are nothing.

        Cells with backward edges have no finite expression.

        Args:
            linear: Apply linear operations to each term of a sum by itself.
            tokens: Texts of the edges, where the names of the operations are not enough.

        Returns:
            The terms; none where no signal reaches the output.
        """
        tokens = tokens or self.operations
        sums: list[tuple[Term, ...]] = [(_INPUT,), (), (), ()]
        for edge in sorted(self.edges, key=lambda e: e.target):
            sums[edge.target] += _apply(edge, tokens[edge.pair], sums[edge.source], linear)
        return sums[OUTPUT]

    def canonical(self, *, linear: bool = True, tokens: tuple[str, ...] | None = None) -> str:
        """Text that is equal for two cells only if they compute the same function.

        Without backward edges it is equal exactly then. A weighted operation that several terms
        use is marked `#0`, `#1`, ...: one convolution counted twice is another function than two
        convolutions of the same shape.

        Args:
            linear: Treat operations as linear that are.
            tokens: Texts of the edges, where the names of the operations are not enough.

        Returns:
            The text.
        """
        live, tokens = self.live(), tokens or self.operations
        if any(edge.backward for edge in live.edges):
            return live._recurrent_canonical(tokens)
        expression = live.expression(linear=linear, tokens=tokens)
        shared = [e for e, n in _uses(expression).items() if n > 1]
        marks = (dict(zip(shared, p, strict=True)) for p in _orders(len(shared)))
        return min(_write(expression, m) for m in marks)

    def _recurrent_canonical(self, tokens: tuple[str, ...]) -> str:
        """Live edges one by one; nodes 1 and 2 are interchangeable where no edge joins them."""
        plain = {e.name: tokens[e.pair] for e in self.edges}
        texts = [plain]
        if not plain.keys() & {"12", "21"}:
            texts.append({name.translate(MIRROR): token for name, token in plain.items()})
        return min(" ".join(f"{n}:{t}" for n, t in sorted(text.items())) for text in texts)

    def shape(self, *, linear: bool = True) -> str:
        """`canonical` without the marks: cells of one shape differ at most in shared weights."""
        return _write(self.expression(linear=linear), {})

    def text(self, names: tuple[str, ...]) -> str:
        """SNASNet's form, like `0302 0030 3003 0000`: rows are sources, columns are targets.

        Args:
            names: Operations by their digit; only the first ten have one.

        Returns:
            The text, one digit for each pair of nodes.

        Raises:
            SpecError: An operation has no digit.
        """
        rows = [["0"] * (OUTPUT + 1) for _ in range(OUTPUT + 1)]
        for edge in self.edges:
            name = self.operations[edge.pair].removeprefix(BACK)
            if name not in names[:10]:
                raise SpecError(f"operation {name!r} has no digit among {', '.join(names[:10])}")
            rows[edge.source][edge.target] = str(names.index(name))
        return " ".join("".join(row) for row in rows)

    @classmethod
    def from_text(cls, text: str, names: tuple[str, ...]) -> "Cell":
        """The inverse of `text`.

        Args:
            text: Rows of the matrix of operations, source by target, such as `0302 0030 3003 0000`.
            names: Operations in the order of their digits.

        Returns:
            The cell.

        Raises:
            SpecError: The text is not of this form; the message names the part that is wrong.
        """
        rows = text.split()
        if len(rows) != OUTPUT + 1 or any(len(r) != OUTPUT + 1 or not _digits(r) for r in rows):
            raise SpecError(f"cell {text!r:.60}: four rows of four digits are needed")
        if any(rows[node][node] != "0" for node in range(OUTPUT + 1)):
            raise SpecError(f"cell {text!r}: no node feeds itself, the diagonal is 0")
        states = [_state(text, rows[i][j], rows[j][i], names) for i, j in EDGES]
        return cls(tuple(states))


MIRROR = str.maketrans("12", "21")


def _digits(row: str) -> bool:
    return row.isascii() and row.isdigit()


def _state(text: str, forward: str, back: str, names: tuple[str, ...]) -> str:
    if forward != "0" and back != "0":
        raise SpecError(f"cell {text!r}: a pair of nodes has one direction, not both")
    digit = int(forward) or int(back)
    if digit >= len(names):
        raise SpecError(f"cell {text!r}: digit {digit}, 0..{len(names) - 1} are possible")
    return (BACK if back != "0" else "") + names[digit]


def _reached(start: set[int], edges: list[tuple[int, int]]) -> set[int]:
    """Nodes that some path leads to from the start."""
    nodes = set(start)
    while more := {b for a, b in edges if a in nodes} - nodes:
        nodes |= more
    return nodes


def _sent(edge: Edge, read: set[tuple[str, bool]]) -> set[tuple[str, bool]]:
    """What the target of an edge reads: the edge where it has weights, else what the edge reads."""
    if edge.operation.weighted:  # a backward edge's own matrix runs when its output is needed
        return {(edge.name, False)}
    return {(name, late or edge.backward) for name, late in read}


def _reads(node: set[tuple[str, bool]], late: bool) -> Reads:
    before = {name for name, was_late in node if was_late or late}
    now = {name for name, was_late in node if not (was_late or late)}
    return Reads(tuple(sorted(now)), tuple(sorted(before)))


def _apply(edge: Edge, token: str, source: tuple[Term, ...], linear: bool) -> tuple[Term, ...]:
    if not source:
        return ()
    if edge.operation.passes:
        return source
    if edge.operation.linear and linear:
        return tuple((token, -1, (term,)) for term in source)
    return ((token, edge.pair if edge.operation.weighted else -1, source),)


def _uses(expression: tuple[Term, ...]) -> Counter[int]:
    uses: Counter[int] = Counter()
    for _, edge, inner in expression:
        uses.update([edge] if edge >= 0 else [])
        uses.update(_uses(inner))
    return uses


def _orders(n: int) -> "Iterator[tuple[int, ...]]":
    return itertools.permutations(range(n))


def _write(expression: tuple[Term, ...], marks: dict[int, int]) -> str:
    return " + ".join(sorted(_write_term(term, marks) for term in expression))


def _write_term(term: Term, marks: dict[int, int]) -> str:
    name, edge, inner = term
    mark = f"#{marks[edge]}" if edge in marks else ""
    return f"{name}{mark}({_write(inner, marks)})" if inner else name
