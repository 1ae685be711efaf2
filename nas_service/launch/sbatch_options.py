"""Options of sbatch as `#SBATCH` lines: what a user may add, and how sbatch reads a value."""

import re
from dataclasses import dataclass

from nas_service.errors import SpecError

KEY = re.compile(r"[a-z][a-z0-9-]{1,30}")
PLAIN = re.compile(r"[A-Za-z0-9_.,:;@/+%=&|*()\[\]-]+")
LONGEST = 1000  # characters of a value
RESERVED = (
    "array",
    "job-name",
    "time",
    "signal",
    "requeue",
    "export",
    "chdir",
    "wrap",
    "uid",
    "gid",
)
MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")  # sbatch takes one of them
GPUS = ("gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task")


@dataclass(frozen=True)
class SbatchOption:
    """One option of sbatch."""

    key: str  # without dashes
    value: str | None = None

    @property
    def text(self) -> str:
        """The option as a user writes it."""
        return self.key if self.value is None else f"{self.key}={self.value}"

    @property
    def line(self) -> str:
        """The option as a line of a script.

        sbatch does not pass the line to a shell. It takes quotes and backslashes away itself, and
        reads an unquoted # as the start of a comment.
        """
        if self.value is None:
            return f"#SBATCH --{self.key}"
        return f"#SBATCH --{self.key}={_quoted(self.value)}"

    @property
    def asks_for_gpu(self) -> bool:
        """True for an option that reserves a GPU."""
        return self.key in GPUS and (self.key != "gres" or "gpu" in (self.value or ""))

    def replaces(self, other: "SbatchOption") -> bool:
        """True if sbatch can have only one of both, or would add them up."""
        families = [family for family in (MEMORY, GPUS) if self.key in family]
        return self.key == other.key or any(other.key in family for family in families)


def parse(text: str) -> SbatchOption:
    """The option that a user adds by --directive.

    Args:
        text: KEY=VALUE, or KEY for an option without a value, as on sbatch's command line; the
            two dashes before it may be left out.

    Returns:
        The option.

    Raises:
        SpecError: It is no option of sbatch, or one that the script sets itself.
    """
    key, equals, value = text.removeprefix("--").partition("=")
    if not KEY.fullmatch(key):
        raise SpecError(f"--directive {text!r:.80}: an option of sbatch is needed, as qos=long")
    if key in RESERVED:
        raise SpecError(
            f"--directive {text!r:.80}: the script sets {key} itself; it takes all options of "
            f"sbatch but {', '.join(RESERVED)}"
        )
    if not equals:
        return SbatchOption(key)
    if not value or not value.isprintable() or len(value) > LONGEST:
        raise SpecError(
            f"--directive {text!r:.80}: a value of 1 to {LONGEST} printable characters is needed"
        )
    return SbatchOption(key, value)


def merged(own: list[SbatchOption], added: list[SbatchOption]) -> list[SbatchOption]:
    """The options of a script, in which those of the user replace our own.

    Args:
        own: Our options.
        added: The user's.

    Returns:
        All that are left, ours first.
    """
    return [o for o in own if not any(option.replaces(o) for option in added)] + added


def _quoted(value: str) -> str:
    if PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
