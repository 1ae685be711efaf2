"""An interrupted training continues with the same result; checkpoints of others are refused."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nas_service.data.batches import ImageTensors
from nas_service.errors import DataError
from nas_service.snn import checkpoint
from nas_service.snn.augmentation import Augmentation
from nas_service.snn.checkpoint import CheckpointFile
from nas_service.snn.network import Network
from nas_service.snn.quantization import Rounding, steps_of
from nas_service.snn.training import Recipe, accuracy, firing_rate, fit, recalibrate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

A = Architecture((Cell(("conv3x3", "skip", "zeroize", "skip", "skip", "skip")),), 4, 2, 16, 2, 4)
TASK = Task(1, 8, 4)
ADAMW = Recipe(epochs=4, batch_size=16, learning_rate=0.02, weight_decay=0.01, clip=1.0)
SGD = Recipe(4, 16, 0.1, 5e-4, "sgd", "cosine")
EPOCHS = range(1, 5)


def stripes(n=48):
    """Noise with one bright pair of rows; which pair is the label."""
    labels = torch.arange(n) % 4
    images = 0.3 * torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 2 * label : 2 * label + 2] += 2
    return ImageTensors(images, labels)


def network(architecture=A, dropout=0.0, rounding=None, seed=7):
    torch.manual_seed(seed)
    return Network(architecture, TASK, 1, dropout, rounding=rounding)


LEARNED = Rounding(4, step_size="learned")
BACKWARD = replace(A, cells=(Cell(("conv3x3", "skip", "skip", "back:skip", "skip", "conv1x1")),))
CASES = {
    "adamw": (ADAMW, {}),
    "sgd": (SGD, {}),
    "augmented": (replace(SGD, augmentation=Augmentation(1, True)), {}),
    "dropout": (ADAMW, {"dropout": 0.3}),
    "learned": (replace(ADAMW, weight_decay=0.3), {"rounding": LEARNED}),
    "bf16": (replace(ADAMW, precision="bf16"), {}),
    "backward": (ADAMW, {"architecture": BACKWARD}),
}


class Ended(Exception):
    """Ends the training, as an interrupt would."""


def run(model, recipe, file, *, after=None, rungs=(), until=None):
    """Losses by epoch; raises Ended in the second batch after an epoch."""
    losses, batches = {}, 0

    def check_interrupt():
        nonlocal batches
        batches += 1
        if after is not None and batches == 3 * after + 2:
            raise Ended

    for epoch in fit(
        model, stripes(), recipe, 3, until=until, check_interrupt=check_interrupt, saved=file
    ):
        losses[epoch.number] = epoch.loss
        if epoch.number in rungs:
            recalibrate(model, stripes(), 16)
            file.notes.setdefault("curve", []).append([epoch.number, accuracy(model, stripes())])
    return losses


def state(path):
    """Everything in a checkpoint's file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rungs", [(), (1, 3)])
def test_a_training_with_breaks_is_the_one_without(tmp_path, case, rungs):
    """Interrupted once in every epoch; each part begins with other weights and random state."""
    recipe, kind = CASES[case]
    uninterrupted, model = CheckpointFile(tmp_path / "a", "x"), network(**kind)
    losses = run(model, recipe, uninterrupted, rungs=rungs)
    broken, result = CheckpointFile(tmp_path / "b", "x"), {}
    for attempt in EPOCHS:
        other = network(**kind, seed=7 if attempt == 1 else attempt)
        broken = CheckpointFile(broken.path, "x")
        try:
            result |= run(other, recipe, broken, after=1 if attempt < 4 else None, rungs=rungs)
        except Ended:
            facts = state(broken.path)[1]
            assert json.loads(facts["training"])["epoch"] == attempt
    assert list(losses) == list(EPOCHS)
    assert result[4] == losses[4]
    assert equal(model.state_dict(), other.state_dict())
    (one, facts), (two, again) = state(uninterrupted.path), state(broken.path)
    assert equal(one, two)
    assert facts == again
    assert [n for n, _ in broken.notes.get("curve", [])] == list(rungs)
    assert accuracy(model, stripes()) == accuracy(other, stripes())
    recalibrate(model, stripes(), 16)
    assert 0.01 < firing_rate(model, stripes().values) < 0.9


def test_a_training_and_its_extension_equal_one_training(tmp_path):
    uninterrupted = network()
    losses = run(uninterrupted, SGD, None)
    file, parts = CheckpointFile(tmp_path / "a", "x"), {}
    for until in (1, 3, 4):
        model = network()
        parts |= run(model, SGD, file, until=until)
        assert max(parts) == until
    assert parts == losses
    assert equal(uninterrupted.state_dict(), model.state_dict())


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from test_checkpoint import ADAMW, CheckpointFile, fit, network, stripes
from pathlib import Path
for epoch in fit(network(), stripes(), ADAMW, 3, saved=CheckpointFile(Path(sys.argv[2]), "x")):
    print(epoch.number, epoch.loss.hex(), flush=True)
    if epoch.number == 2:
        sys.stdin.read()  # until it is killed
"""


@pytest.mark.process
def test_a_killed_process_is_continued(tmp_path):
    """SIGKILL after the second epoch, before it is saved: it is trained again."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path / "a")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = [child.stdout.readline().strip() for _ in range(2)]
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    alone, model = network(), network(seed=8)
    losses = run(alone, ADAMW, None)
    assert lines == [f"{n} {losses[n].hex()}" for n in (1, 2)]
    assert run(model, ADAMW, CheckpointFile(tmp_path / "a", "x")) == {
        n: losses[n] for n in (2, 3, 4)
    }
    assert equal(alone.state_dict(), model.state_dict())


def kept(path, recipe=ADAMW, identity="x"):
    """A training that ended after its second epoch."""
    run(network(), recipe, CheckpointFile(path, identity), until=2)


def rewritten(path, change, facts=None, digest=True):
    """The same file with other contents, and a matching digest unless `digest` is False."""
    tensors, metadata = state(path)
    tensors = {name: t.clone() for name, t in tensors.items()}
    change(tensors)
    text = json.dumps(json.loads(metadata["training"]) | (facts or {}))
    fits = checkpoint.digest_of(tensors, text)
    metadata = {"training": text, "digest": fits if digest else metadata["digest"]}
    save_file(tensors, path, metadata)


NAME = "network.stem.1.running_mean"
FIRST = "optimizer.0.exp_avg"
EDITS = {
    "missing tensor": lambda t: t.pop(NAME),
    "missing moment": lambda t: t.pop(FIRST),
    "missing generator": lambda t: t.pop("die"),
    "extra tensor": lambda t: t.update({"network.more": torch.ones(1)}),
    "extra part": lambda t: t.update({"more": torch.ones(1)}),
    "extra moment": lambda t: t.update({"optimizer.0.more": torch.ones(1)}),
    "no parameter": lambda t: t.update({"optimizer.999.step": torch.ones(())}),
    "no number": lambda t: t.update({"optimizer.x.step": torch.ones(())}),
    "other type": lambda t: t.update({NAME: t[NAME].double()}),
    "moment of other type": lambda t: t.update({FIRST: t[FIRST].double()}),
    "other shape": lambda t: t.update({NAME: t[NAME][None]}),
    "moment of other shape": lambda t: t.update({FIRST: t[FIRST].flatten()}),
    "short generator": lambda t: t.update({"die": t["die"][:9]}),
    "wild global generator": lambda t: t.update({"global_die": torch.full_like(t["die"], 255)}),
}
FACTS = {
    "huge epoch": {"epoch": 10**30},
    "epoch 0": {"epoch": 0},
    "negative epoch": {"epoch": -1},
    "epoch after the last": {"epoch": 5},
    "half epoch": {"epoch": 1.5},
    "true epoch": {"epoch": True},
    "no epoch": {"epoch": None},
    "NaN": {"epoch": math.nan},
    "NaN in notes": {"notes": {"curve": [[1, math.nan]]}},
    "notes no table": {"notes": 3},
    "foreign": {"identity": "y"},
}
FILES = {
    "empty": lambda b: b"",
    "text": lambda b: b"checkpoint" * 9,
    "short": lambda b: b[:-8],
    "longer": lambda b: b + b"\0" * 8,
    "half": lambda b: b[: len(b) // 2],
    "one bit": lambda b: b[:-100] + bytes([b[-100] ^ 1]) + b[-99:],
}


def refused(path, caplog, architecture=A, recipe=ADAMW, identity="x", last=4):
    """A refused file changes nothing of the training, and the log names the file."""
    model, generator = network(architecture), torch.Generator().manual_seed(11)
    optimizer, content = recipe.optimizer_of(model), path.read_bytes()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    dice = generator.get_state(), torch.get_rng_state()
    groups = json.dumps(optimizer.state_dict())
    file = CheckpointFile(path, identity)
    with caplog.at_level(logging.WARNING):
        assert file.resume(model, optimizer, generator, last) == 0
    assert equal(before, model.state_dict())
    assert json.dumps(optimizer.state_dict()) == groups
    assert torch.equal(dice[0], generator.get_state())
    assert torch.equal(dice[1], torch.get_rng_state())
    assert file.notes == {}
    assert path.read_bytes() == content
    (message,) = caplog.messages
    assert message.startswith(f"{path}: training starts again, checkpoint not usable")


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_file_is_refused(tmp_path, caplog, edit):
    kept(tmp_path / "a")
    rewritten(tmp_path / "a", EDITS[edit])
    refused(tmp_path / "a", caplog)


@pytest.mark.parametrize("facts", FACTS)
def test_impossible_metadata_is_refused(tmp_path, caplog, facts):
    kept(tmp_path / "a")
    rewritten(tmp_path / "a", lambda t: None, FACTS[facts])
    refused(tmp_path / "a", caplog)


@pytest.mark.parametrize("damage", FILES)
def test_a_damaged_file_is_refused(tmp_path, caplog, damage):
    kept(tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(FILES[damage](content))
    refused(tmp_path / "a", caplog)


def test_a_complete_file_is_accepted(tmp_path):
    """The valid file from which the others differ by one change is accepted when rewritten."""
    kept(tmp_path / "a")
    rewritten(tmp_path / "a", lambda t: None)
    model = network()
    optimizer = ADAMW.optimizer_of(model)
    assert CheckpointFile(tmp_path / "a", "x").resume(model, optimizer, torch.Generator(), 4) == 2
    tensors, _ = state(tmp_path / "a")
    assert equal({f"network.{n}": t for n, t in model.state_dict().items()},
                 {n: t for n, t in tensors.items() if n.startswith("network.")})  # fmt: skip
    assert optimizer.state_dict()["state"][0]["step"] == 6


def test_changed_tensors_do_not_fit_their_digest(tmp_path, caplog):
    kept(tmp_path / "a")
    rewritten(tmp_path / "a", lambda t: t[FIRST].add_(1), digest=False)
    refused(tmp_path / "a", caplog)


@pytest.mark.parametrize(
    "other",
    [
        {"recipe": SGD},
        {"architecture": replace(A, channels=6)},
        {"architecture": replace(A, cells=(Cell(("conv1x1", *A.cells[0].operations[1:])),))},
        {"identity": "seed 4"},
        {"last": 1},
    ],
)
def test_another_training_is_not_continued(tmp_path, caplog, other):
    kept(tmp_path / "a")
    refused(tmp_path / "a", caplog, **other)


def test_a_refused_training_starts_from_its_beginning(tmp_path):
    """Bit for bit the one that found no file, and its own file is put in place of the other."""
    kept(tmp_path / "a")
    rewritten(tmp_path / "a", EDITS["moment of other shape"])
    file, model, alone = CheckpointFile(tmp_path / "a", "x"), network(), network()
    assert run(model, ADAMW, file) == run(alone, ADAMW, None)
    assert equal(model.state_dict(), alone.state_dict())
    assert json.loads(state(file.path)[1]["training"])["epoch"] == 4


def test_learned_steps_are_kept(tmp_path):
    """A step is a parameter of the network and of the optimizer, in a separate group."""
    model = network(rounding=LEARNED)
    first = [step.clone() for step in steps_of(model)]
    run(model, ADAMW, CheckpointFile(tmp_path / "a", "x"), until=1)
    other = network(rounding=LEARNED)
    optimizer = ADAMW.optimizer_of(other)
    CheckpointFile(tmp_path / "a", "x").resume(other, optimizer, torch.Generator(), 4)
    pairs = list(zip(first, steps_of(model), steps_of(other), strict=True))
    assert pairs
    assert not torch.equal(pairs[0][0], pairs[0][1])
    assert all(torch.equal(b, c) for _, b, c in pairs)
    assert len(optimizer.state_dict()["state"]) == len(list(other.parameters()))


def test_delete_removes_the_checkpoint(tmp_path):
    kept(tmp_path / "a")
    CheckpointFile(tmp_path / "a", "x").delete()
    assert list(tmp_path.iterdir()) == []
    CheckpointFile(tmp_path / "a", "x").delete()  # nothing is there: nothing to delete


def test_equal_weights_give_equal_files_that_say_which_training_they_are_of(tmp_path):
    layer, origin = torch.nn.Linear(1, 1), {"epochs": "3", "training": "x"}
    for number in range(8):
        facts = origin if number % 2 else dict(reversed(origin.items()))
        checkpoint.save_weights(layer, tmp_path / f"{number}.safetensors", facts)
    files = list(tmp_path.iterdir())
    assert len({file.read_bytes() for file in files}) == 1
    assert checkpoint.origin_of(files[0]) == origin
    checkpoint.save_weights(layer, files[0])
    assert checkpoint.origin_of(files[0]) == {}


@pytest.mark.parametrize("facts", [None, {"epochs": "3"}])
def test_weights_with_one_changed_byte_are_refused(facts, tmp_path):
    file, layer = tmp_path / "w.safetensors", torch.nn.Linear(2, 2)
    checkpoint.save_weights(layer, file, facts)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged: its content was changed since"):
        checkpoint.load_weights(layer, file)


def test_weights_of_earlier_versions_have_no_digest(tmp_path):
    file, layer = tmp_path / "w.safetensors", torch.nn.Linear(2, 2)
    for texts in (None, {"origin": '{"epochs": "3"}'}):
        checkpoint.write(layer.state_dict(), file, texts)
        checkpoint.load_weights(layer, file)
