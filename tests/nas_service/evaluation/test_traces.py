"""Files of traces: as many samples as fit, read only where they are those of the result."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hw_models import RecordedInputs, load_profile
from nas_service.errors import DataError
from nas_service.evaluation import traces
from nas_service.evaluation.recording import record
from nas_service.metrics import Evaluation
from nas_service.snn.trace import trace
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

CELL = Cell(("conv3x3_dilated2", "zeroize", "zeroize", "zeroize", "sepconv3x3", "zeroize"))
ARCHITECTURE = Architecture((CELL,), 4, 2, 16, 3, 8)
SAMPLES = 5


WORKLOAD = trace(ARCHITECTURE, Task(1, 8, 10))
EVALUATION = Evaluation(
    ARCHITECTURE,
    "trained",
    load_profile("corrected").estimate(WORKLOAD),
    chance=0.1,
    seed=3,
    fidelity=2,
    accuracy=1 / 3,
    spike_rate=0.1,
    spike_rates={"stem": 0.5, "hidden": (0.0, 0.1, 1 / 7)},
)


@pytest.fixture
def written(tmp_path):
    """A file of traces, and what is in it."""
    rng, inputs = np.random.default_rng(1), {}
    for x in WORKLOAD.layers:
        maps = SAMPLES if x.once else SAMPLES * WORKLOAD.time_steps
        values = rng.integers(2**x.input_bits, size=(maps, x.in_channels, x.in_size, x.in_size))
        inputs[x.name] = RecordedInputs.of(values, x.input_bits)
    path = tmp_path / "x.traces.safetensors"
    kept = traces.Traces(SAMPLES, inputs)
    arrays = {name: x.bits for name, x in inputs.items()}
    save_file(arrays, path, traces.facts_of(kept, EVALUATION))
    return path, arrays


def test_what_is_written_is_read(written):
    path, arrays = written
    stored = Evaluation.from_json(json.loads(json.dumps(EVALUATION.to_json())))
    recorded = traces.load(path, WORKLOAD, stored)
    assert recorded.samples == SAMPLES
    assert {name: x.bits.tolist() for name, x in recorded.inputs.items()} == {
        name: bits.tolist() for name, bits in arrays.items()
    }
    dilated = {name for name, x in recorded.inputs.items() if x.dilation == 2}
    assert dilated == {"cell0.edge01"}
    maps = {name: x.maps for name, x in recorded.inputs.items()}
    assert maps == dict.fromkeys(arrays, SAMPLES * 3) | {"stem": SAMPLES}
    load_profile("corrected").estimate(WORKLOAD, recorded.inputs)


def _changed(path, arrays=None, **facts):
    """Writes the file with other tensors or facts."""
    own = load_file(path)
    known = json.loads(traces.facts_of(traces.Traces(SAMPLES, {}), EVALUATION)[traces.FACTS])
    arrays = own if arrays is None else arrays(own)
    known |= {"content": traces._content(arrays), **facts}
    save_file(arrays, path, {traces.FACTS: json.dumps(known)})


def _fewer(arrays):
    return {n: a for n, a in arrays.items() if n != "stem"}


def _narrower(arrays):
    return arrays | {"stem": arrays["stem"][..., :0]}


def _wider(arrays):
    return {n: a.astype(np.int16) for n, a in arrays.items()}


CHANGES = {
    "another seed": ({"evaluation": "0" * 64}, "of another training"),
    "no samples": ({"samples": 0}, "of 0 samples"),
    "many samples": ({"samples": 10**9}, "of 1000000000 samples"),
    "a text": ({"samples": "5"}, "of '5' samples"),
    "other samples": ({"samples": 30}, "those of another network"),
    "fewer layers": ({"arrays": _fewer}, "those of another network"),
    "narrower": ({"arrays": _narrower}, "those of another network"),
    "another type": ({"arrays": _wider}, "those of another network"),
    "another content": ({"content": ""}, "damaged"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_other_traces_are_refused(written, change, message):
    path, _ = written
    _changed(path, **change)
    with pytest.raises(DataError, match=f"not the traces of this candidate: .*{message}"):
        traces.load(path, WORKLOAD, EVALUATION)


@pytest.mark.parametrize("content", [b"", b"\x08" + bytes(20), b"\xff" * 100])
def test_other_files_are_refused(written, content):
    path, _ = written
    path.write_bytes(content)
    with pytest.raises(DataError, match="cut, damaged or missing"):
        traces.load(path, WORKLOAD, EVALUATION)
    path.unlink()
    with pytest.raises(DataError, match="cut, damaged or missing"):
        traces.load(path, WORKLOAD, EVALUATION)


def test_a_large_file_is_not_read(written):
    path, _ = written
    with path.open("ab") as file:
        file.truncate(traces.TRACE_B + traces.HEADER_B + 1)
    with pytest.raises(DataError, match="at most 9437184 are possible"):
        traces.load(path, WORKLOAD, EVALUATION)


@pytest.mark.parametrize("channels", [4, 64, 700, 4000])
def test_as_many_samples_are_recorded_as_fit(channels):
    workload = trace(replace(ARCHITECTURE, channels=channels), Task(1, 32, 10))
    samples = traces.samples_within(workload)
    assert (samples == traces.MOST_SAMPLES) == (channels == 4)
    assert (samples == 0) == (channels == 4000)
    assert traces._bytes(workload, samples) <= traces.TRACE_B
    assert samples == traces.MOST_SAMPLES or traces._bytes(workload, samples + 1) > traces.TRACE_B
    assert traces.samples_within(workload, 3) == min(samples, 3)


def test_a_network_too_large_is_not_recorded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(traces, "TRACE_B", 10)
    record(None, WORKLOAD, range(5), EVALUATION, tmp_path / "x.safetensors", None)
    assert f"{ARCHITECTURE.digest}: no traces: one sample takes more than 8 MiB" in caplog.text
    assert list(tmp_path.iterdir()) == []
