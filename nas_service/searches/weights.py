"""Where a study's trained weights lie: in a folder of each machine whose workers have trained."""

import socket

from nas_service.searches.session import Search
from nas_service.store.process_id import host_of
from nas_service.store.records import ResultKind
from nas_service.store.store import Store

FOLDER = "artifacts@"  # attribute of a study, with a host's name: the folder of its workers
TRAINED: tuple[ResultKind, ...] = ("won",)
BEGUN: tuple[ResultKind, ...] = ("won", "lost", "late", "released", "crashed", "oom")


def record_folder(search: Search) -> None:
    """Records in the study where this machine keeps weights, so that other machines can say it."""
    key, folder = f"{FOLDER}{socket.gethostname()}", str(search.store.artifacts.absolute())
    if search.study.user_attrs.get(key) != folder:
        search.study.set_user_attr(key, folder)


def recorded_folders(store: Store, study_id: int) -> dict[str, str]:
    """The folder NAS_ARTIFACTS of each machine whose workers have worked on the study, by host."""
    attributes = store.optuna.get_study_user_attrs(study_id).items()
    return {k.removeprefix(FOLDER): str(v) for k, v in attributes if k.startswith(FOLDER)}


def explain_missing(
    search: Search, digest: str, kinds: tuple[ResultKind, ...] = TRAINED, what: str = "weights"
) -> str:
    """Why a candidate's file cannot be read here, and which machine has it.

    Args:
        search: The study.
        digest: Of the candidate.
        kinds: How the attempt ended whose worker has written the file.
        what: Is in the file.

    Returns:
        One sentence without its full stop.
    """
    folder, host = search.weights(digest).parent.absolute(), socket.gethostname()
    place = other_place(search, digest, kinds) or "deleted or pruned since they were written"
    return f"no {what} in {folder} on {host}: {place}"


def other_place(search: Search, digest: str, kinds: tuple[ResultKind, ...] = TRAINED) -> str:
    """Which machine has a candidate's file, and how to reach it.

    Args:
        search, digest, kinds: As `explain_missing`.

    Returns:
        One sentence without its full stop; empty where it should be in this machine's folder.
    """
    folder, host = search.weights(digest).parent.absolute(), socket.gethostname()
    last = host_of(search.store.leases(search.id).last_worker(digest, *kinds))
    if not last:
        return "the store does not say which machine has them"
    recorded = recorded_folders(search.store, search.id).get(last)
    if (last, recorded) == (host, str(folder.parent)):
        return ""
    place = "in the folder NAS_ARTIFACTS of its workers"
    if recorded:
        place = f"in {recorded}/{search.name}"
    if last == host:
        return f"they are {place}; let NAS_ARTIFACTS name its parent folder"
    advice = "let NAS_ARTIFACTS name a folder that both machines see, or copy the files"
    return f"{last} has them {place}; {advice}"


def elsewhere(store: Store, study_id: int, name: str) -> str:
    """The other folders in which workers of a study have kept weights, as a list for people.

    Args:
        store: The store.
        study_id: The study.
        name: Of the study.

    Returns:
        Hosts and folders; empty where there are none but that of `store.artifacts`.
    """
    own = (socket.gethostname(), str(store.artifacts.absolute()))
    others = [
        f"{host} in {folder}/{name}"
        for host, folder in sorted(recorded_folders(store, study_id).items())
        if (host, folder) != own
    ]
    return ", ".join(others)
