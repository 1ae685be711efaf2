"""`nas launch kubernetes`: manifests that keep the schema of Kubernetes."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from launched_study import HOSTILE

from nas_service.cli.main import main
from nas_service.errors import (
    MachineFault,
    SickWorker,
    SpecError,
    StoreError,
    StudyError,
    TooManyFailures,
)
from nas_service.launch import kubernetes
from nas_service.launch.job import Job


def kubernetes_cluster(**given: object) -> kubernetes.Cluster:
    names = {"image": "registry/nas:1", "secret": "nas-store", "artifacts_claim": "weights"}
    return kubernetes.Cluster(**{**names, **given})  # type: ignore[arg-type]


def paths_of(tree: object, path: str = "") -> dict[str, object]:
    """Every leaf of a JSON tree by its path."""
    if isinstance(tree, dict | list) and tree:
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in paths_of(value, f"{path}/{key}").items()}
    return {path: tree}


def test_a_manifest_s_parts():
    job = Job("My_Study.2", 8, cpus=2, memory_GiB=6, gpu=True, grace_s=90)
    where = kubernetes_cluster(data_claim="sets", namespace="lab", restarts=3, hours=1.5)
    tree = json.loads(kubernetes.manifest(job, where))
    assert (tree["apiVersion"], tree["kind"]) == ("batch/v1", "Job")
    assert tree["metadata"]["namespace"] == "lab"
    spec = tree["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 8, 8)
    assert (spec["backoffLimitPerIndex"], spec["activeDeadlineSeconds"]) == (3, 5400)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "as backoffLimitPerIndex demands"
    assert pod["terminationGracePeriodSeconds"] == 90
    assert pod["automountServiceAccountToken"] is False
    assert pod["shareProcessNamespace"] is True, (
        "the worker is not process 1, which ignores signals"
    )
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    (container,) = pod["containers"]
    assert container["args"] == ["worker", "--study", "My_Study.2", "--term-exit", "143"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "6Gi"}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m["readOnly"]}
    environment = {e["name"]: e["value"] for e in container["env"]}
    for name in ("NAS_ARTIFACTS", "NAS_CACHE", "HOME"):
        assert environment[name] in writable
    assert str(Path(environment["NAS_PULSE"]).parent) in writable
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if len(v) == 2
              and "persistentVolumeClaim" in v]  # fmt: skip
    assert claims == ["sets", "weights"]
    assert "://" not in json.dumps(tree), "no URL of the store"


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("gpu", [False, True])
def test_a_manifest_keeps_kubernetes_own_schema(gpu, version):
    """Strictly: Kubernetes would silently drop a key that it does not know."""
    schemas = pytest.importorskip("kubernetes_validate")
    where = kubernetes_cluster(data_claim="sets", namespace="lab", hours=2) if gpu else None
    text = kubernetes.manifest(Job("My_Study", 8, gpu=gpu), where or kubernetes_cluster())
    assert schemas.validate(json.loads(text), version, strict=True)
    broken = json.loads(text.replace("backoffLimitPerIndex", "backoffLimitperIndex"))
    with pytest.raises(schemas.ValidationError):
        schemas.validate(broken, version, strict=True)


def test_a_secret_s_file_can_be_read_by_the_worker_alone():
    """Kubernetes makes it readable to the group of the pod's user, which the worker accepts."""
    tree = json.loads(kubernetes.manifest(Job("tiny"), kubernetes_cluster()))
    secrets = [v["secret"] for v in tree["spec"]["template"]["spec"]["volumes"] if "secret" in v]
    assert [s["defaultMode"] for s in secrets] == [0o440]


@given(name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", fullmatch=True))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_every_study_has_a_legal_and_unique_job_name(name):
    result = kubernetes.job_name(name)
    assert kubernetes.LABEL.fullmatch(result)
    assert len(f"{result}-9999") <= 63, "a pod's host name"
    assert result != kubernetes.job_name(name.swapcase()) or name == name.swapcase()


@pytest.mark.parametrize(
    "option", ["image", "secret", "artifacts_claim", "data_claim", "namespace"]
)
def test_a_manifest_refuses_hostile_names(option):
    for value in (*HOSTILE, "UP", "-a", *["a_b"] * (option != "image")):
        with pytest.raises(SpecError, match="--" + option.replace("_", "-")):
            kubernetes_cluster(**{option: value})


def test_a_job_ends_where_no_restart_can_help():
    rules = json.loads(kubernetes.manifest(Job("tiny"), kubernetes_cluster()))["spec"]
    (codes,) = [r["onExitCodes"] for r in rules["podFailurePolicy"]["rules"] if "onExitCodes" in r]
    ending = {e.exit_code for e in (SpecError, StudyError, TooManyFailures)}
    assert set(codes["values"]) == ending
    assert not ending & {e.exit_code for e in (MachineFault, SickWorker, StoreError)}, (
        "one bad machine ends the job for nobody else"
    )


PLACED = ["--pull-secret", "key-1", "--pull-secret", "key-2", "--node-selector", "disk=ssd",
          "--node-selector", "example.com/gpu=h200", "--toleration", "nvidia.com/gpu:NoSchedule",
          "--toleration", "dedicated=nas", "--priority-class", "low", "--ttl", "3600",
          "--scratch", "20"]  # fmt: skip


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_options_of_a_cluster(version):
    words = ["launch", "kubernetes", "tiny", "--image", "nas", "--artifacts-claim", "weights"]
    done = CliRunner().invoke(main, [*words, *PLACED])
    assert done.exit_code == 0, done.output
    tree = json.loads(done.stdout)
    pod = tree["spec"]["template"]["spec"]
    assert tree["spec"]["ttlSecondsAfterFinished"] == 3600
    assert pod["imagePullSecrets"] == [{"name": "key-1"}, {"name": "key-2"}]
    assert pod["nodeSelector"] == {"disk": "ssd", "example.com/gpu": "h200"}
    assert pod["priorityClassName"] == "low"
    assert pod["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "dedicated", "operator": "Equal", "value": "nas"},
    ]
    scratch = {v["name"]: v["emptyDir"] for v in pod["volumes"] if "emptyDir" in v}
    assert scratch["cache"] == scratch["tmp"] == {"sizeLimit": "20Gi"}
    schemas = pytest.importorskip("kubernetes_validate")
    assert schemas.validate(tree, version, strict=True)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--node-selector", "disk", "KEY=VALUE is needed"),
        ("--node-selector", "=ssd", "KEY=VALUE is needed"),
        ("--node-selector", "a/b/c=ssd", "KEY=VALUE is needed"),
        ("--node-selector", "disk=a b", "KEY=VALUE is needed"),
        ("--toleration", ":NoSchedule", r"KEY\[=VALUE\]\[:EFFECT\] is needed"),
        ("--toleration", "gpu:NoSchedul", "unknown effect 'NoSchedul' .*did you mean 'NoSchedule'"),
        ("--priority-class", "High", "lower-case"),
        ("--pull-secret", "Key", "lower-case"),
        ("--ttl", "-1", "--ttl"),
        ("--scratch", "0", "--scratch"),
    ],
)
def test_wrong_options_of_a_cluster_are_named(option, value, named):
    words = ["launch", "kubernetes", "tiny", "--image", "nas", "--artifacts-claim", "weights"]
    done = CliRunner().invoke(main, [*words, option, value])
    assert done.exit_code == 2
    assert option in done.output
    assert re.search(named, done.output)


def test_a_manifest_alone_is_printed():
    words = [
        "launch",
        "kubernetes",
        "tiny",
        "--image",
        "nas",
        "--artifacts-claim",
        "weights",
        "--workers",
        "3",
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["spec"]["completions"] == 3
    assert "kubectl create secret generic nas-store --from-file=storage_url=FILE" in done.stderr
