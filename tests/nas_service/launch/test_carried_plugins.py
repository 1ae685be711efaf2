"""Workers elsewhere load the plug-ins that the launching command was given."""

import base64
import json

import plugin_files
import pytest
from command_line import run

from nas_service.errors import SpecError
from nas_service.launch import dask_task, kubernetes, slurm
from nas_service.launch.job import Job
from nas_service.study import plugins

TEXT = "from nas_service.spaces.operations import OPERATIONS, conv\nOPERATIONS['own'] = conv(7)\n"


@pytest.fixture
def path(tmp_path):
    """A plug-in that this process has loaded."""
    path = tmp_path / "my own.py"
    path.write_text(TEXT)
    with plugin_files.own_tables():
        plugins.load(path)
        yield path


def test_a_script_of_slurm_exports_its_path(path):
    variables = slurm.carried({"NAS_PLUGIN": str(path)})
    cluster = slurm.Cluster("/url", "/python", "/data", "/artifacts", variables=variables)
    assert f"export NAS_PLUGIN='{path}'\n" in slurm.script(Job("x"), cluster)


def test_a_manifest_brings_its_text(path):
    words = ["--image", "nas:1", "--artifacts-claim", "a", "--namespace", "lab"]
    done = run("launch", "kubernetes", "x", *words)
    assert done.exit_code == 0, done.output
    tree = json.loads(done.stdout)
    texts, job = tree["items"]
    assert (tree["kind"], texts["kind"], job["kind"]) == ("List", "ConfigMap", "Job")
    assert texts["metadata"]["namespace"] == "lab"
    ((name, content),) = texts["binaryData"].items()
    assert (name, base64.b64decode(content)) == ("0-my-own.py", path.read_bytes())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"name": "NAS_PLUGIN", "value": "/plugins/0-my-own.py"} in container["env"]
    volume = {"name": "plugins", "configMap": {"name": texts["metadata"]["name"]}}
    assert volume in pod["volumes"]
    mount = {"name": "plugins", "mountPath": "/plugins", "readOnly": True}
    assert mount in container["volumeMounts"]


def test_plugins_too_large_for_kubectl_are_refused():
    with pytest.raises(SpecError, match="131073 bytes in all, at most 131072"):
        kubernetes.Cluster("nas:1", "s", "a", plugins=(("x.py", b"#" * 131073),))


def test_a_task_of_dask_names_its_path(path):
    task = dask_task.new_task("x", "/data", None, False)
    own = {"NAS_STORAGE": "sqlite:///nas.db", "NAS_PLUGIN": "/other.py"}
    assert task.environment(own)["NAS_PLUGIN"] == str(path)
    with pytest.raises(SpecError, match=r"--plugin 'own\.py': an absolute path is needed"):
        dask_task.Task("x", "/data", "channel", plugins="own.py")
