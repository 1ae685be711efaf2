"""What a reader did where files can be read in more than one way, one line for each kind."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Note:
    """One thing that was done with a file."""

    text: str
    count: int = 1
    unit: str = ""  # of the count, in the singular; empty where only the file counts


@dataclass
class _Place:
    """The first file of a kind of notes, and how much there is in all files."""

    first: str
    files: int = 0
    count: int = 0


@dataclass(eq=False)
class Notes:
    """The notes on the files of a part; equal ones of several files become one line."""

    _places: dict[tuple[str, str], _Place] = field(default_factory=dict, repr=False)

    def add(self, where: str, *notes: Note) -> None:
        """Adds notes on one file.

        Args:
            where: Names the file.
            notes: What was done with it.
        """
        for note in notes:
            place = self._places.setdefault((note.text, note.unit), _Place(where))
            place.files += 1
            place.count += note.count

    def lines(self) -> tuple[str, ...]:
        """Each kind of note, with the first file, the number of other files and the count."""
        return tuple(_line(text, unit, place) for (text, unit), place in self._places.items())


def _line(text: str, unit: str, place: _Place) -> str:
    others = f" and {counted(place.files - 1, 'other file')}" if place.files > 1 else ""
    count = f" ({counted(place.count, unit)})" if unit else ""
    return f"{place.first}{others}: {text}{count}"


def counted(count: int, unit: str) -> str:
    """A count with its unit: `1 image`, `2 images`."""
    return f"{count} {unit}{'' if count == 1 else 'es' if unit.endswith('s') else 's'}"
