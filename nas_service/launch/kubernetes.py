"""Workers as an indexed Job of Kubernetes: a manifest in JSON for kubectl.

The manifest holds no secret; it names the Secret that holds the store's URL. The pods run as an
unprivileged user on a read-only file system, without a token of the cluster.
"""

import base64
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas_service.errors import SpecError
from nas_service.launch.job import Job, within
from nas_service.launch.placement import DOMAIN, Placement
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

USER = 10001  # any user but root: everyone can read the files of the image
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123
MOST_SECONDS = 2**31 - 1
IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,254}(@sha256:[0-9a-f]{64})?")
NAME_LENGTH = 52  # a pod's host name has 63 characters: the Job's name, a dash and an index
URL_KEY = "storage_url"
PLUGIN_FOLDER = "/plugins"
MOST_PLUGIN_B = 2**17
PULSE = "/tmp/pulse"  # noqa: S108  a volume of the pod's own
PULSE_s = 120  # a worker without a sign of life for longer is restarted
CANNOT_WORK = [2, 5]  # exit codes after which no restart helps: bad input, too many failures


@dataclass(frozen=True)
class Cluster:
    """Settings of Kubernetes: names of objects in the namespace, and limits.

    Raises:
        SpecError: A name is not valid in Kubernetes, or a value is out of its range.
    """

    image: str
    secret: str
    artifacts_claim: str  # claim of a volume that all pods may mount
    data_claim: str | None = None
    namespace: str | None = None
    restarts: int = 10  # of each worker
    hours: float | None = None  # time limit of the Job
    pull_secrets: tuple[str, ...] = ()  # Secrets with which the image is pulled
    placement: Placement = field(default_factory=Placement)
    ttl_s: int | None = None  # after its end the Job is deleted
    scratch_GiB: int | None = None  # size limit of each volume for scratch files
    plugins: tuple[tuple[str, bytes], ...] = ()  # names and texts of files that workers load

    def __post_init__(self) -> None:
        if not IMAGE.fullmatch(self.image):
            raise SpecError(f"--image {self.image!r:.80}: a name such as registry/nas:1 is needed")
        _object_name("--secret", self.secret)
        _object_name("--artifacts-claim", self.artifacts_claim)
        if self.data_claim is not None:
            _object_name("--data-claim", self.data_claim)
        if self.namespace is not None and not LABEL.fullmatch(self.namespace):
            raise SpecError(f"--namespace {self.namespace!r:.80}: {_LABEL}")
        within("--restarts", self.restarts, 0, 1000)
        if self.hours is not None:
            within("--hours", self.hours, 1 / 60, 24 * 365)
        for name in self.pull_secrets:
            _object_name("--pull-secret", name)
        if self.ttl_s is not None:
            within("--ttl", self.ttl_s, 0, MOST_SECONDS)
        if self.scratch_GiB is not None:
            within("--scratch", self.scratch_GiB, 1, 4096)
        size = sum(len(text) for _, text in self.plugins)
        if size > MOST_PLUGIN_B:  # kubectl keeps a copy in an annotation of 256 KiB
            raise SpecError(f"--plugin: {size} bytes in all, at most {MOST_PLUGIN_B} are possible")


_LABEL = "at most 63 lower-case letters, digits and dashes are allowed"


def _object_name(option: str, name: str) -> None:
    if len(name) > 253 or not DOMAIN.fullmatch(name):
        raise SpecError(f"{option} {name!r:.80}: {_LABEL}, and more parts of this kind after dots")


def manifest(job: Job, cluster: Cluster) -> str:
    """The Job as JSON.

    Args:
        job: The study and its workers.
        cluster: Settings of Kubernetes.

    Returns:
        The text of the manifest: a Job, with plug-ins a list of it and of a ConfigMap.
    """
    tree = _job(job, cluster)
    if cluster.plugins:
        items = [_config_map(tree["metadata"], cluster), tree]
        tree = {"apiVersion": "v1", "kind": "List", "items": items}
    return json.dumps(tree, indent=2) + "\n"


def _plugin_files(cluster: Cluster) -> dict[str, bytes]:
    """The texts of plug-ins by a name that is possible in a ConfigMap."""
    known = (re.sub(r"[^A-Za-z0-9._-]", "-", name)[-200:] for name, _ in cluster.plugins)
    texts = (text for _, text in cluster.plugins)
    return {f"{n}-{name}": t for n, (name, t) in enumerate(zip(known, texts, strict=True))}


def _plugins_name(job: str) -> str:
    return f"{job}-plugins"


def _config_map(job: Mapping[str, Any], cluster: Cluster) -> dict[str, Any]:
    """The plug-ins, byte by byte, beside the Job with this metadata."""
    files = _plugin_files(cluster).items()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**job, "name": _plugins_name(job["name"])},
        "binaryData": {name: base64.b64encode(text).decode() for name, text in files},
    }


def job_name(study: str) -> str:
    """The name of the Job of a study; different studies have different names.

    Names of studies may have capitals, dots and underscores, which names of Jobs may not.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-")
    mark = hashlib.sha256(study.encode()).hexdigest()[:8]
    return f"nas-{plain}"[: NAME_LENGTH - 9].rstrip("-") + f"-{mark}"


def secret_command(cluster: Cluster) -> str:
    """The command that creates the Secret from FILE, which holds the store's URL."""
    namespace = f" --namespace {cluster.namespace}" if cluster.namespace else ""
    command = f"kubectl create secret generic {cluster.secret}{namespace}"
    return f"{command} --from-file={URL_KEY}=FILE"


def _job(job: Job, cluster: Cluster) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/name": "nas-worker",
        "app.kubernetes.io/instance": job_name(job.study),
    }
    metadata = {
        "name": job_name(job.study),
        "labels": labels,
        "annotations": {"nas-service/study": job.study},
    }
    if cluster.namespace is not None:
        metadata["namespace"] = cluster.namespace
    spec = {
        "completionMode": "Indexed",
        "completions": job.workers,
        "parallelism": job.workers,
        "backoffLimitPerIndex": cluster.restarts,
        "podFailurePolicy": {"rules": _FAILURES},
        "template": {"metadata": {"labels": labels}, "spec": _pod(job, cluster)},
    }
    if cluster.hours is not None:
        spec["activeDeadlineSeconds"] = round(cluster.hours * 3600)
    if cluster.ttl_s is not None:
        spec["ttlSecondsAfterFinished"] = cluster.ttl_s
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


# A pod that the cluster evicts is no failure. A machine that cannot do the work (exit code 4) is
# replaced: the next pod may be on another node.
_FAILURES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {
        "action": "FailJob",
        "onExitCodes": {"containerName": "worker", "operator": "In", "values": CANNOT_WORK},
    },
]


def _pod(job: Job, cluster: Cluster) -> dict[str, Any]:
    pull = [{"name": name} for name in cluster.pull_secrets]
    return {
        **({"imagePullSecrets": pull} if pull else {}),
        **cluster.placement.fields(),
        "restartPolicy": "Never",  # backoffLimitPerIndex requires it
        "terminationGracePeriodSeconds": job.grace_s,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": True,  # the pod's own process 1 is an init; `nas` is none
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, cluster)],
        "volumes": _volumes(job, cluster),
    }


def _container(job: Job, cluster: Cluster) -> dict[str, Any]:
    amounts = {"cpu": str(job.cpus), "memory": f"{job.memory_GiB}Gi"}
    gpus = {"nvidia.com/gpu": "1"} if job.gpu else {}
    return {
        "name": "worker",
        "image": cluster.image,
        "command": ["nas"],
        "args": ["worker", "--study", job.study, "--term-exit", "143"],
        "env": [{"name": k, "value": v} for k, v in _environment(job, cluster).items()],
        "resources": {"requests": amounts, "limits": amounts | gpus},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "livenessProbe": {
            "exec": {"command": ["nas-health", "pulse", PULSE, str(PULSE_s)]},
            "initialDelaySeconds": PULSE_s,
            "periodSeconds": 30,
            "timeoutSeconds": 10,
        },
        "volumeMounts": [
            {"name": name, "mountPath": path, "readOnly": read_only}
            for name, path, read_only in (*MOUNTS, *(PLUGIN_MOUNTS if cluster.plugins else ()))
        ],
    }


MOUNTS = (
    ("store", "/run/secrets/nas", True),
    ("data", "/data", True),
    ("artifacts", "/artifacts", False),
    ("cache", "/cache", False),
    ("tmp", "/tmp", False),  # noqa: S108  a volume of the pod's own
)
PLUGIN_MOUNTS = (("plugins", PLUGIN_FOLDER, True),)


def _environment(job: Job, cluster: Cluster) -> dict[str, str]:
    variables = WORKER_ENVIRONMENT | {
        "NAS_STORAGE_FILE": f"/run/secrets/nas/{URL_KEY}",
        "NAS_DATA": "/data",
        "NAS_ARTIFACTS": "/artifacts",
        "NAS_CACHE": "/cache",
        "NAS_PULSE": PULSE,
        "HOME": "/tmp",  # noqa: S108  a volume of the pod's own
    }
    if cluster.plugins:
        paths = (posixpath.join(PLUGIN_FOLDER, name) for name in _plugin_files(cluster))
        variables["NAS_PLUGIN"] = ":".join(paths)
    return variables | ({"NAS_DEVICE": "cuda:0"} if job.gpu else {})


def _volumes(job: Job, cluster: Cluster) -> list[dict[str, Any]]:
    plugins = {"name": "plugins", "configMap": {"name": _plugins_name(job_name(job.study))}}
    data = cluster.data_claim
    size = {} if cluster.scratch_GiB is None else {"sizeLimit": f"{cluster.scratch_GiB}Gi"}
    return [
        {"name": "store", "secret": {"secretName": cluster.secret, "defaultMode": 0o440}},
        {"name": "data", **(_claim(data, True) if data else {"emptyDir": {}})},
        {"name": "artifacts", **_claim(cluster.artifacts_claim, False)},
        {"name": "cache", "emptyDir": size},
        {"name": "tmp", "emptyDir": size},
        *([plugins] if cluster.plugins else []),
    ]


def _claim(name: str, read_only: bool) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name, "readOnly": read_only}}
