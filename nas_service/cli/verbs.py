"""The verbs of `nas`: where each is defined, its group, and its line in `nas --help`."""

import importlib
from typing import NamedTuple

import click


class Verb(NamedTuple):
    """One command: where it is defined (`module:attribute`), and its line in `nas --help`."""

    place: str
    summary: str
    handles_signals: bool = False  # itself; others end by Interrupted, whatever they do

    def load(self) -> click.Command:
        """The command. Its module is imported only now."""
        module, _, attribute = self.place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


# A new verb is one entry here; the summary is the first sentence of its own help, and short enough
# for one line of 80 columns. Its examples are in examples.py.
GROUPS = {
    "Search": {
        "init": Verb("nas_service.cli.init:init", "Write a commented study file to start from."),
        "check": Verb("nas_service.cli.check:check", "Validate a study file."),
        "run": Verb("nas_service.cli.run:run", "Create or resume a study and run it here."),
        "resume": Verb("nas_service.cli.run:resume", "Continue a study of the store."),
        "evaluate": Verb("nas_service.cli.evaluate:evaluate", "Screen and train one architecture."),
        "ablate": Verb("nas_service.cli.evaluate:ablate", "Measure what each operation is worth."),
    },
    "Look": {
        "status": Verb("nas_service.cli.status:status", "Show the progress of a study."),
        "front": Verb("nas_service.cli.front:front", "Show the feasible front of a study."),
        "show": Verb("nas_service.cli.show:show", "Show one trial of a study."),
        "report": Verb("nas_service.cli.show:report", "Write an HTML report about a study."),
        "dashboard": Verb("nas_service.cli.serve:dashboard", "Browse the store in a web browser."),
        "mcp": Verb("nas_service.cli.mcp:mcp", "Let an assistant read the store."),
        "studies": Verb("nas_service.cli.studies:studies", "List the studies of a store."),
    },
    "Take away": {
        "retrain": Verb("nas_service.cli.retrain:retrain", "Train finalists with several seeds."),
        "replay": Verb("nas_service.cli.evaluate:replay", "Repeat one recorded training."),
        "export": Verb(
            "nas_service.cli.export:export", "Export a trained network for other programs."
        ),
    },
    "Chips": {
        "cost": Verb("nas_service.cli.cost:cost", "Estimate the hardware costs of a network."),
        "census": Verb("nas_service.cli.chip:census", "Count the candidates within the budgets."),
        "recost": Verb("nas_service.cli.recost:recost", "Cost a study anew on another chip."),
        "calibrate": Verb("nas_service.cli.chip:calibrate", "Fit a chip profile to measurements."),
    },
    "Operate": {
        "create": Verb(
            "nas_service.cli.run:create", "Put a study into the store without running it."
        ),
        "worker": Verb("nas_service.cli.worker:worker", "Work on a study until it ends.", True),
        "launch": Verb("nas_service.cli.launch:launch", "Start workers on other machines."),
        "data": Verb("nas_service.cli.data:data", "List the data sets and check their files."),
        "migrate": Verb("nas_service.cli.run:migrate", "Create or upgrade the tables of a store."),
        "doctor": Verb(
            "nas_service.cli.doctor:doctor", "Examine this machine: what is fine, slow or missing."
        ),
        "completion": Verb(
            "nas_service.cli.completion:completion", "Print what completes commands in a shell."
        ),
    },
}
VERBS = {name: verb for verbs in GROUPS.values() for name, verb in verbs.items()}
