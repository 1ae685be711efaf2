"""Plug-ins: what they add, what is refused before anything is changed, and what is recorded."""

import hashlib
import json
import os
import sys
from dataclasses import replace

import plugin_files
import pytest
from command_line import refused, run

import nas_service
from nas_service.data import DATASETS
from nas_service.data.dataset import Files
from nas_service.errors import SpecError
from nas_service.metrics import METRICS
from nas_service.spaces.operations import OPERATIONS
from nas_service.study import plugin_records, plugins
from nas_service.study.loading import parse_spec
from nas_service.study.member_checks import sample_evaluation

IMPORTS = """
from hw_models.metrics import HARDWARE_METRICS, HardwareMetric
from hw_models.profile_file import CHIPS
from nas_service.data import DATASETS
from nas_service.export.formats import FORMATS, Format
from nas_service.metrics import METRICS, PROXIES, Metric, Proxy
from nas_service.samplers import SAMPLERS
from nas_service.spaces.operations import OPERATIONS, PRESETS, Matrix, Operation, conv
"""
CONV7 = f'{IMPORTS}OPERATIONS["conv7x7"] = conv(7)\n'


@pytest.fixture(autouse=True)
def _own_tables():
    with plugin_files.own_tables():
        yield


@pytest.fixture
def write(tmp_path):
    def write(text, name="own.py"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


def spec_of(operations=("zeroize", "conv7x7"), **tables):
    tree = {
        "name": "own",
        "space": {"operations": operations, "channels": 4, "head_pool": 2, "hidden": 8,
                  "time_steps": 2},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        **tables,
    }  # fmt: skip
    return parse_spec(json.dumps(tree), "test")


BAD = {
    "syntax": ("x = = 1", "line 1: SyntaxError: invalid syntax"),
    "null": ("x = '\0'", "SyntaxError"),
    "raises": ("\n1 / 0", "line 2: ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit(0)", "line 1: SystemExit: 0"),
    "missing module": ("import no_such", "line 1: ModuleNotFoundError: No module named 'no_such'"),
    "nothing": ("x = 1", "adds no member to any table"),
    "ours": ('OPERATIONS["conv3x3"] = conv(7)', "operation 'conv3x3' exists: nas_service has it"),
    "removes": ('del OPERATIONS["skip"]', "removes the operation 'skip'"),
    "no operation": ('OPERATIONS["x"] = 3', "operation 'x': 3, of type int: the class Operation"),
    "a list": ('OPERATIONS["x"] = Operation([Matrix(3)])', "matrices = [Matrix(kernel=3"),
    "even": ('OPERATIONS["x"] = conv(4)', "kernel = 4: an odd number of pixels, 1..63, is needed"),
    "two": ('OPERATIONS["x"] = Operation((Matrix(3), Matrix(3)))', "suffixes ('', '')"),
    "both": ('OPERATIONS["x"] = Operation((Matrix(3),), "max", 3)', "not both"),
    "pooling": ('OPERATIONS["x"] = Operation(pooling="min")', "pooling = 'min'"),
    "threshold": ('OPERATIONS["x"] = conv(3, threshold=-1.0)', "threshold = -1.0: a number > 0"),
    "name": ('OPERATIONS["back:x"] = conv(3)', "operation 'back:x': a name of 1..64 letters"),
    "number": ("OPERATIONS[3] = conv(3)", "operation 3: a name of 1..64 letters"),
    "preset": ('PRESETS["x"] = ("skip", "no")', "operation preset 'x': unknown operation 'no'"),
    "no metric": ('METRICS["x"] = len', "the class Metric is needed"),
    "no value": ('METRICS["x"] = Metric("accuracy", "", len)', "value = 'accuracy', of type str"),
    "typing error": (
        'METRICS["x"] = Metric(lambda e: e.acuracy, "", lambda e: 0.0, trained=True)',
        "metric 'x': its value fails on a sample: AttributeError: 'Evaluation' object has no",
    ),
    "text": ('METRICS["x"] = Metric(lambda e: "1", "", lambda e: 0.0)', "value '1': a number or"),
    "fallback": ('METRICS["x"] = Metric(lambda e: 1.0, "", lambda e: None)', "fallback None"),
    "untrained": (
        'METRICS["x"] = Metric(lambda e: 1.0, "", lambda e: 0.0, trained=True)',
        "value 1.0 of an untrained candidate: None is needed",
    ),
    "costed": ('METRICS["x"] = Metric(lambda e: 1.0, "", lambda e: 0.0)', "HARDWARE_METRICS"),
    "decimals": ('METRICS["x"] = Metric(len, "", len, decimals=-1)', "decimals = -1: 0..12"),
    "unit": ('METRICS["x"] = Metric(len, 3, len)', "unit = 3: a text is needed"),
    "proxy metric": (
        'METRICS["proxy_x"] = Metric(lambda e: 1.0, "", lambda e: 0.0)',
        "the metric of a proxy follows from PROXIES",
    ),
    "total": (
        'HARDWARE_METRICS["x"] = HardwareMetric(lambda t: t["energy"])',
        "hardware metric 'x': its value fails on a sample: KeyError: 'energy'",
    ),
    "scalar": (
        'HARDWARE_METRICS["x"] = HardwareMetric(lambda t: float(t["energy_J"]))',
        "its value fails on a sample: TypeError",
    ),
    "accuracy": (
        'HARDWARE_METRICS["accuracy"] = HardwareMetric(lambda t: t["energy_J"])',
        "metric 'accuracy' exists: nas_service has it",
    ),
    "proxy": ('PROXIES["x"] = Proxy("hamming", "me")', "function = 'hamming', of type str"),
    "score": ('PROXIES["x"] = Proxy(str, "me", structural=True)', "a finite number is needed"),
    "data": ('DATASETS["x"] = object()', "data set 'x'"),
    "chip": ('CHIPS["x"] = {"base": "corected"}', "did you mean 'corrected'?"),
    "figure": ('CHIPS["x"] = {"base": "corrected", "values": {"clock": -1}}', "clock = -1"),
    "file": ('CHIPS["x"] = "chip.toml"', "chip 'x': 'chip.toml', of type str: the tables"),
    "format": ('FORMATS["x"] = Format("no_such_module", "x", ".x")', "a module is needed"),
    "functions": ('FORMATS["x"] = Format(__name__, "x", ".x")', "defines no function contents"),
    "suffix": ('FORMATS["x"] = Format(__name__, "x", "../x")', "such as '.npz' are needed"),
    "sampler": ('SAMPLERS["x"] = len', "the class SamplerEntry is needed"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_plugin_is_one_line_and_changes_nothing(case, write):
    text, reason = BAD[case]
    alone = case in ("syntax", "null", "raises", "exits", "missing module")
    path, before = write(text if alone else IMPORTS + text), plugins.tables()
    modules = set(sys.modules)
    with pytest.raises(SpecError) as caught:
        plugins.load(path)
    message = str(caught.value)
    assert message.startswith(f"plug-in {path}: ")
    assert reason in message
    assert len(message.splitlines()) == 1
    assert plugins.tables() == before
    assert plugins.LOADED == []
    assert not {m for m in set(sys.modules) - modules if m.startswith("nas_plugin")}
    assert plugins.VARIABLE not in os.environ


@pytest.mark.parametrize("words", [["--plugin", "{}", "check", "x.toml"],
                                   ["check", "x.toml", "--plugin", "{}"],
                                   ["launch", "slurm", "x", "--plugin={}"]])  # fmt: skip
def test_the_command_refuses_it_before_anything_else(words, write, tmp_path):
    path = write("1 / 0")
    line = refused(*[word.format(path) for word in words])
    assert line == f"nas: plug-in {path}: line 1: ZeroDivisionError: division by zero\n"


@pytest.mark.parametrize(("make", "reason"), [
    (lambda path: None, "cannot be read (No such file or directory)"),
    (lambda path: path.mkdir(), "not a file"),
    (lambda path: path.write_text("#" * plugins.LARGEST_B + "!"), "1048577 bytes, at most"),
], ids=["missing", "folder", "large"])  # fmt: skip
def test_what_is_no_file_of_a_plugin(make, reason, tmp_path):
    make(tmp_path / "x.py")
    assert f"nas: plug-in {tmp_path}/x.py: {reason}" in refused(
        "--plugin", tmp_path / "x.py", "data"
    )


def test_a_path_that_the_environment_cannot_hold(tmp_path):
    line = refused("--plugin", tmp_path / f"a{os.pathsep}b.py", "data")
    assert "a path without ':' is needed" in line


def test_what_a_plugin_has_loaded(write):
    path = write(CONV7)
    plugin = nas_service.plugin(path)
    assert OPERATIONS["conv7x7"].taps(1) == 49
    assert plugin.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert plugin.members["operation"] == {"conv7x7"}
    assert plugins.load(path) is plugin
    assert plugins.load(write(CONV7, "copy.py")) is plugin, "the same text"
    assert os.environ["NAS_PLUGIN"] == str(path), "for the workers that this process starts"


def test_a_file_that_changed_is_not_mixed_with_itself(write):
    plugins.load(write(CONV7))
    with pytest.raises(SpecError, match="was changed since this process loaded it"):
        plugins.load(write(CONV7 + "\n"))


def test_a_member_of_another_plugin_is_refused_by_both_names(write):
    first = plugins.load(write(CONV7))
    with pytest.raises(SpecError) as caught:
        plugins.load(write(CONV7 + "#", "second.py"))
    assert "second.py: operation 'conv7x7' exists" in str(caught.value)
    assert f"plug-in {first.path} has it" in str(caught.value)


def test_environment_and_options_name_plugins(write, monkeypatch):
    """Those of the environment come first, and an option after the verb is one as well."""
    one = write(CONV7, "one.py")
    two = write(IMPORTS + 'PRESETS["mine"] = ("zeroize", "conv7x7")', "two.py")
    three = write(IMPORTS + 'OPERATIONS["conv9x9"] = conv(9)', "three.py")
    monkeypatch.setenv("NAS_PLUGIN", f"{one}{os.pathsep}")
    assert run("--plugin", two, "data", "--plugin", three).exit_code == 0
    assert [p.path for p in plugins.LOADED] == [one, two, three]
    assert os.environ["NAS_PLUGIN"].split(os.pathsep) == list(map(str, (one, two, three)))


def test_metrics_follow_from_hardware_metrics_and_proxies(write):
    text = f"""{IMPORTS}
HARDWARE_METRICS["pJ"] = HardwareMetric(lambda t: t["energy_J"] * 1e12, "pJ", has_interval=True)
PROXIES["one"] = Proxy(lambda edges: 1.0, "me", structural=True)
METRICS["on_chip"] = Metric(lambda e: e.accuracy and e.accuracy / e.hardware_metrics["energy_uJ"],
                            "1/uJ", lambda e: 0.0, trained=True)
METRICS["twice"] = Metric(lambda e: e.accuracy and 2 * e.accuracy, "", lambda e: 0.0, trained=True)
"""
    plugins.load(write(text))
    assert METRICS["pJ"].has_interval
    assert METRICS["proxy_one"].proxy == "one"
    assert (METRICS["on_chip"].of_chip, METRICS["twice"].of_chip) == (True, False)


def test_a_metric_that_fails_later_is_one_line(write):
    value = "e.accuracy and (float('inf') if e.seed > 1 else 1 / (e.seed - 1))"
    text = f'METRICS["x"] = Metric(lambda e: {value}, "", lambda e: 0.0, trained=True)'
    path = write(IMPORTS + text)
    plugins.load(path)
    with pytest.raises(SpecError, match="metric 'x' is inf: a finite number is needed"):
        METRICS["x"].value(replace(sample_evaluation(), seed=2))
    with pytest.raises(ZeroDivisionError) as caught:
        METRICS["x"].value(replace(sample_evaluation(), seed=1))
    line = f"plug-in {path}: line 9: ZeroDivisionError: division by zero"
    assert plugins.failure(caught.value) == line
    assert plugins.failure(ValueError()) is None


def test_files_that_another_version_has_read_are_read_again(write):
    """The cache's key has the hash of the plug-in, which decides the pixels."""
    text = IMPORTS + "from dataclasses import replace\n"
    text += 'DATASETS["mine"] = replace(DATASETS["mnist"], name="mine")'
    plugin = plugins.load(write(text))
    assert isinstance(DATASETS["mine"], Files)
    assert plugin.digest in DATASETS["mine"].decoder


@pytest.mark.parametrize("words", [["data", "bad"], ["--plugin", "{}", "data", "bad", "--json"]])
def test_a_data_set_that_fails_is_one_line(words, write):
    text = """
from dataclasses import dataclass
from nas_service.data.sets.digits import Digits
class Bad(Digits):
    def read_train(self, folder, time_steps=1):
        raise ValueError("no\\nimages")
DATASETS["bad"] = Bad("bad")
"""
    path = write(IMPORTS + text)
    words = words if "{}" in words else [*words, "--plugin", "{}"]
    line = refused(*[word.format(path) for word in words])
    assert line == f"nas: plug-in {path}: line 14: ValueError: no images\n"


# --- records


def records(spec):
    return [record.to_json() for record in plugin_records.records_of(spec)]


def test_only_plugins_that_a_study_names_are_recorded(write):
    used = plugins.load(write(CONV7))
    plugins.load(write(IMPORTS + 'OPERATIONS["conv9x9"] = conv(9)', "unused.py"))
    (record,) = records(spec_of())
    assert (record["name"], record["sha256"]) == ("own.py", used.digest)
    assert record["members"].keys() == {"operation"}
    assert "/" not in json.dumps(record), "no path"
    assert records(spec_of("light3")) == []


def test_a_chip_counts_with_its_base(write):
    plugins.load(write(IMPORTS + 'CHIPS["slow"] = {"base": "corrected", "values": {"clock": 100}}'))
    plugins.load(write(IMPORTS + 'CHIPS["slower"] = {"base": "slow"}', "second.py"))
    spec = spec_of("light3", hardware={"profile": "slower"})
    assert [r["name"] for r in records(spec)] == ["own.py", "second.py"]


def test_results_are_readable_by_facts_alone(write):
    """Operations, presets and metrics are there as they were; nothing new may use them."""
    text = f"""{CONV7}
PRESETS["mine"] = ("zeroize", "conv7x7")
METRICS["x"] = Metric(lambda e: e.accuracy, "V", lambda e: 0.0, ideal=2.0, trained=True)
PROXIES["one"] = Proxy(lambda edges: 1.0, "me", structural=True)
"""
    objectives = [{"metric": "x", "direction": "maximize"}]
    proxies = {"names": ["one"]}
    with plugin_files.own_tables():
        plugins.load(write(text))
        spec = spec_of("mine", objectives=objectives, proxies=proxies)
        stored, operation = json.loads(json.dumps(records(spec))), OPERATIONS["conv7x7"]
    (missing,) = plugin_records.read_records(stored)
    plugin_records.stand_in([missing])
    assert str(missing).startswith("plug-in own.py (sha256 ")
    assert OPERATIONS["conv7x7"] == operation
    assert (METRICS["x"].unit, METRICS["x"].ideal, METRICS["proxy_one"].proxy) == ("V", 2.0, "one")
    read = spec_of("mine", objectives=objectives, proxies=proxies)
    assert read == spec
    with pytest.raises(SpecError, match="its plug-in is needed, --plugin FILE or NAS_PLUGIN"):
        records(read)
    plugins.load(write(text))  # takes their place
    assert json.loads(json.dumps(records(read))) == stored
    assert set() == plugins.STAND_INS


def test_another_member_of_a_recorded_name_is_refused(write):
    with plugin_files.own_tables():
        plugins.load(write(CONV7))
        stored = records(spec_of())
    plugins.load(write(CONV7.replace("conv(7)", "conv(5)"), "other.py"))
    with pytest.raises(SpecError, match=r"own.py .*this process has another operation 'conv7x7'"):
        plugin_records.stand_in(plugin_records.read_records(stored))


GOOD = {"name": "x.py", "sha256": "0" * 64, "members": {}}
DAMAGED = [
    3, "x", {}, [3], [{}], [GOOD] * 65, [GOOD | {"name": 3}], [GOOD | {"name": ""}],
    [GOOD | {"name": "a\nb"}], [GOOD | {"sha256": "x" * 64}], [GOOD | {"sha256": None}],
    [GOOD | {"members": []}], [GOOD | {"members": {"operation": 3}}],
    *([GOOD | {"members": {"operation": {name: facts}}}] for name, facts in (
        ("a", None), ("a", {}), ("a", {"matrices": 3}), ("a", {"matrices": [{"kernel": 10**9}]}),
        ("a", {"matrices": [], "x": 1}), ("../a", {"matrices": []}), ("", {"matrices": []}))),
    *([GOOD | {"members": {"metric": {name: facts}}}] for name, facts in (
        ("a", {}), ("a", {"unit": 3}), ("a", {"unit": "", "value": "x"}), ("a@0.9", {"unit": ""}),
        ("a", {"unit": "", "decimals": 10**9}), ("a", {"unit": "\033[2J"}),
        ("a", {"unit": "", "ideal": "x"}), ("a", {"unit": "", "trained": 1}))),
    [GOOD | {"members": {"proxy": {"a": {"source": 3}}}}],
    [GOOD | {"members": {"operation preset": {"a": ["no", "skip"]}}}],
]  # fmt: skip


@pytest.mark.parametrize("stored", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_record_is_one_line_and_adds_nothing(stored):
    before = plugins.tables()
    with pytest.raises(SpecError, match="has a damaged record of its plug-ins") as caught:
        plugin_records.stand_in(plugin_records.read_records(stored))
    assert len(str(caught.value).splitlines()) == 1
    assert plugins.tables() == before


@pytest.mark.parametrize(
    ("stored", "damage"),
    [
        ([{}], "entry 0: name is missing"),
        ([GOOD, {"name": "x.py", "members": {}}], "entry 1: sha256 is missing"),
        ([GOOD | {"sha256": "x"}], "entry 0: sha256 is 'x', 64 hex digits are needed"),
        ([GOOD | {"members": []}], "entry 0: members: a table of at most 64 entries is needed"),
        ([GOOD | {"members": {"operation": {"a": {}}}}], "operation 'a': 'matrices' is missing"),
    ],
    ids=range(5),
)
def test_a_damaged_record_says_what_of_it_is_damaged(stored, damage):
    with pytest.raises(SpecError) as caught:
        plugin_records.stand_in(plugin_records.read_records(stored))
    assert damage in str(caught.value)
    assert "Error" not in str(caught.value)


def test_a_study_file_cannot_name_a_plugin(write, tmp_path):
    path = write("raise SystemExit", "evil.py")
    for key in ("plugin", "plugins", "NAS_PLUGIN"):
        study = tmp_path / "x.toml"
        study.write_text(f'{key} = "{path}"\n' + 'name = "x"\n')
        assert f"{key}: unknown key" in run("check", study).stderr
