"""Two examples for every command, which its help ends with: what each does, and its words."""

from typing import NamedTuple

import click


class Example(NamedTuple):
    """One command line as a user types it."""

    purpose: str
    words: str


def _pair(*texts: str) -> tuple[Example, Example]:
    first, first_words, second, second_words = texts
    return Example(first, first_words), Example(second, second_words)


# The study is the one that `nas init --data digits` writes, in digits.toml.
EXAMPLES = {
    "init": _pair(
        "the handwritten digits, which need no files",
        "nas init --data digits",
        "your pictures, in a folder for each class",
        "nas init --data pictures --path leaves --name leaves",
    ),
    "check": _pair(
        "is the file valid, and what is the least for each budget?",
        "nas check digits.toml",
        "which share of the space keeps all budgets",
        "nas check digits.toml --budgets",
    ),
    "run": _pair(
        "search with a worker on each core, then print the front",
        "nas run digits.toml",
        "the same search as another study, with its own seed",
        "nas run digits.toml --name second --seed 2 --workers 1",
    ),
    "resume": _pair(
        "continue until 80 trainings are done in all",
        "nas resume digits --trainings 80",
        "train the five best on to epoch 6",
        "nas resume digits --until 6 --top 5",
    ),
    "evaluate": _pair(
        "the costs of the network that `nas show digits 3 --json` printed",
        "nas evaluate candidate.json digits.toml --no-train",
        "train it too, and keep it as best.safetensors",
        "nas evaluate candidate.json digits.toml -o best.safetensors",
    ),
    "ablate": _pair(
        "eight pairs of networks for each operation",
        "nas ablate digits.toml",
        "a quick look: few pairs, short trainings",
        "nas ablate digits.toml --samples 3 --epochs 2",
    ),
    "status": _pair(
        "how far the study is, and what failed",
        "nas status digits",
        "the same for a program",
        "nas status digits --json",
    ),
    "front": _pair(
        "the networks that no other one beats",
        "nas front digits",
        "measure their test accuracies first",
        "nas front digits --test",
    ),
    "show": _pair(
        "trial 3: its cells, its metrics, the costs of each layer",
        "nas show digits 3",
        "the same as a file, which nas evaluate and nas cost read",
        "nas show digits 3 --json > candidate.json",
    ),
    "report": _pair(
        "write reports/digits.html",
        "nas report digits",
        "each plot as a file for a paper: PNG, SVG and PDF",
        "nas report digits --figures plots",
    ),
    "dashboard": _pair(
        "pages on http://127.0.0.1:8080, for this machine alone",
        "nas dashboard",
        "for other machines, with a password in a file",
        "nas dashboard --host 0.0.0.0 --port 8081 --token-file token",
    ),
    "mcp": _pair(
        "what an assistant's settings start: tools on standard input and output",
        "nas mcp",
        "the tools of another store",
        "nas mcp --storage sqlite:///other.db",
    ),
    "studies": _pair(
        "all studies of the store",
        "nas studies",
        "delete the weights that no front needs",
        "nas studies --prune digits",
    ),
    "retrain": _pair(
        "train the front three times each, and compare",
        "nas retrain digits",
        "two trials, five times each",
        "nas retrain digits --trial-numbers 3,1 --seeds 5",
    ),
    "replay": _pair(
        "does trial 3 give the same accuracy again?",
        "nas replay digits 3",
        "the differences for a program",
        "nas replay digits 3 --json",
    ),
    "export": _pair(
        "the network of trial 3 as digits-3.safetensors",
        "nas export digits 3 --format safetensors",
        "as a NIR graph, compared with the network on images",
        "nas export digits 3 --format nir --check",
    ),
    "cost": _pair(
        "an architecture on the chip of its study",
        "nas cost candidate.json --study digits.toml",
        "the chip's model beside measured chips",
        "nas cost --validate",
    ),
    "census": _pair(
        "which share of the space keeps each budget",
        "nas census digits.toml --limit 2000",
        "three architectures that keep all of them",
        "nas census digits.toml --limit 2000 --list 3",
    ),
    "recost": _pair(
        "the front with larger crossbars",
        "nas recost digits --set crossbar_size=128",
        "the front under a tighter budget",
        "nas recost digits --budget energy_uJ=0.5",
    ),
    "calibrate": _pair(
        "fit the chip to the rows of a table",
        "nas calibrate measured.csv -o chip.toml",
        "fit a single figure, from another profile",
        "nas calibrate measured.csv -o chip.toml --fit adc_J --profile rram_28nm",
    ),
    "create": _pair(
        "put the study into a store that many machines reach",
        "nas create digits.toml --storage postgresql://nas@server/nas",
        "the same search under another name",
        "nas create digits.toml --name second --seed 2",
    ),
    "worker": _pair(
        "one worker, until the study ends",
        "nas worker --study digits",
        "on a GPU, with no new trial after an hour",
        "nas worker --study digits --device cuda:0 --max-seconds 3600",
    ),
    "launch": _pair(
        "a script for sbatch that starts 20 workers",
        "nas launch slurm digits --workers 20 --storage-file store.url -o job.sh",
        "four workers of a Dask cluster on this machine",
        "nas launch dask digits --local 4",
    ),
    "launch slurm": _pair(
        "a script for 20 workers, with the file that holds the store's URL",
        "nas launch slurm digits --workers 20 --storage-file store.url -o job.sh",
        "one worker with a GPU, for two hours",
        "nas launch slurm digits --gpu --hours 2 --storage-file store.url",
    ),
    "launch kubernetes": _pair(
        "a manifest for one worker, whose weights are kept in a volume claim",
        "nas launch kubernetes digits --image nas:1 --artifacts-claim weights",
        "20 workers",
        "nas launch kubernetes digits --image nas:1 --artifacts-claim w --workers 20",
    ),
    "launch dask": _pair(
        "four workers on this machine",
        "nas launch dask digits --local 4",
        "the workers of a running cluster",
        "nas launch dask digits --scheduler tcp://head:8786 --storage-file store.url",
    ),
    "data": _pair(
        "all data sets, and which are present",
        "nas data",
        "one of them: its files and where they are published",
        "nas data digits",
    ),
    "migrate": _pair(
        "the tables of the store in nas.db",
        "nas migrate",
        "those of a server",
        "nas migrate --storage postgresql://nas@server/nas",
    ),
    "doctor": _pair(
        "is this machine ready, and what makes it slow?",
        "nas doctor",
        "another store and another folder of data",
        "nas doctor --storage sqlite:///other.db --data /data",
    ),
    "completion": _pair(
        "in ~/.bashrc: the Tab key completes verbs, options and studies",
        'eval "$(nas completion bash)"',
        "for fish",
        "nas completion fish > ~/.config/fish/completions/nas.fish",
    ),
}


def with_examples(command: click.Command, path: str) -> click.Command:
    """The command, whose help ends with its examples.

    Args:
        command: A command, or a group of them.
        path: Its words after `nas`, such as `launch slurm`.

    Returns:
        The same command.
    """
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            with_examples(one, f"{path} {name}")
    if path in EXAMPLES:
        lines = (f"  # {e.purpose}\n  {e.words}" for e in EXAMPLES[path])
        command.epilog = "\b\nExamples:\n" + "\n".join(lines)  # \b keeps its lines
    return command
