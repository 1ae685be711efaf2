"""`nas studies --delete`, `--rename` and `--prune`: rows and files of one study, and no other's."""

import fcntl
import json
import shutil
from contextlib import closing

import pytest
import sqlalchemy as sa
from command_line import document, refused, run
from stored_studies import ELSEWHERE, evaluation, finish, spec_of, stored_study

from nas_service.errors import SpecError, StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches import artifacts, upkeep
from nas_service.searches.artifacts import Space, artifacts_in
from nas_service.searches.creation import check, create
from nas_service.searches.session import open_search
from nas_service.searches.weights import FOLDER
from nas_service.snn.inheritance import POOL
from nas_service.store.records import Limits
from nas_service.store.store import Store
from nas_service.store.tables import studies
from nas_service.store.trial_queue import TrialQueue
from nas_service.worker.worker import Worker


@pytest.fixture(scope="module")
def template(tmp_path_factory, sqlite_template):
    """A store with the studies s and other."""
    path = tmp_path_factory.mktemp("two") / "nas.db"
    shutil.copy(sqlite_template, path)
    with closing(Store(f"sqlite:///{path}", write=True)) as store:
        stored_study(store, "other", [0.5])
        search = stored_study(store, "s", [0.9, 0.9, 0.2])  # 1 and 2 tie, 3 fires least
        for channels in (7, 8, 9):  # none of them is on the front
            finish(search, evaluation(channels, 0.1, rate=0.9))
    return path


@pytest.fixture
def place(template, monkeypatch, tmp_path):
    """The study s in a store of the test's own."""
    shutil.copy(template, tmp_path / "nas.db")
    monkeypatch.setenv("NAS_STORAGE", f"sqlite:///{tmp_path}/nas.db")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NAS_ARTIFACTS", raising=False)
    with closing(Store(f"sqlite:///{tmp_path}/nas.db", write=True)) as store:
        yield open_search(store, "s")


def digest(channels):
    return evaluation(channels, 0.5).architecture.digest


def write_files(search, *names):
    folder = upkeep.folder_of(search.store, search.name)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(bytes(2**19))
    return folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_deleted_study_takes_its_files_and_leaves_those_of_others(place):
    a = digest(1)
    folder = write_files(place, f"{a}.safetensors", f"{a}.training.safetensors", POOL)
    other = write_files(open_search(place.store, "other"), f"{a}.safetensors")
    shown = run("studies", "--delete", "s", "--yes")
    assert shown.exit_code == 0, shown.output
    assert (
        f"to delete: study s: 6 trials with their results, and 3 files, 1.5 MiB in {folder}\n"
        in (shown.stderr)
    )
    assert shown.stdout == "study s is deleted\n"
    assert [s["study"] for s in document("studies")] == ["other"]
    assert not folder.exists()
    assert names_in(folder.parent) == ["other"]
    assert names_in(other) == [f"{a}.safetensors"]
    assert "no study 's'" in refused("studies", "--delete", "s", "--yes")
    assert document("front", "other")["front"]


def test_files_that_are_not_ours_stay(place):
    others = sorted([f"{digest(99)}.safetensors", "notes.txt"])  # of a study of another store
    folder = write_files(place, f"{digest(9)}.safetensors", *others)
    assert document("studies", "--prune", "s", "--yes")["pruned"]["files"] == 1
    assert names_in(folder) == others
    shown = run("studies", "--delete", "s", "--yes")
    assert (shown.exit_code, names_in(folder)) == (0, others)
    assert "files that are not ours are left" in shown.stderr


@pytest.mark.parametrize("option", ["--delete", "--prune"])
def test_without_yes_nothing_is_deleted_where_no_terminal_can_be_asked(place, option):
    folder = write_files(place, f"{digest(9)}.safetensors")
    shown = run("studies", option, "s")
    assert shown.exit_code == 2
    assert shown.stderr.splitlines()[-1] == (
        "nas: nothing is deleted: --yes deletes it without a question"
    )
    assert names_in(folder) == [f"{digest(9)}.safetensors"]
    assert "s" in place.store.studies.names()


def test_where_the_folder_cannot_be_renamed_nothing_is_deleted(place, monkeypatch):
    folder = write_files(place, f"{digest(1)}.safetensors")

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "rename", denied)
    for words in (("--delete", "s", "--yes"), ("--rename", "s", "new")):
        shown = run("studies", *words)
        assert shown.exit_code == 4
        assert f"{folder}: cannot be renamed (Permission denied)" in shown.stderr
    assert (place.store.studies.names(), names_in(folder)) == (
        ["other", "s"],
        [f"{digest(1)}.safetensors"],
    )


def test_a_renamed_study_keeps_its_results_and_its_weights(place):
    write_files(place, f"{digest(1)}.safetensors")
    place.study.set_user_attr(f"{FOLDER}node17", "/scratch/weights")
    before = document("front", "s")
    shown = run("studies", "--rename", "s", "new")
    assert shown.stdout == 'study s is now new: its file needs name = "new", or --name\n'
    assert "node17 in /scratch/weights/s: rename it to new there" in shown.stderr
    after = document("front", "new")
    assert after["front"] == before["front"]
    assert after["study"] == "new"
    assert names_in(upkeep.folder_of(place.store, "new")) == [f"{digest(1)}.safetensors"]
    with closing(Store(place.store.address, write=True)) as store:
        reopened = create(store, check(spec_of("new")), "data")
        assert reopened.id == place.id
        finish(reopened, evaluation(10, 0.3))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--rename", "s", "other"), "already has a study 'other'"),
        (("--rename", "s", "s"), "already has a study 's'"),
        (("--rename", "s", "../x"), "name '../x'"),
        (("--rename", "none", "new"), "no study 'none'"),
        (("--rename", "s"), "--rename"),
        (("--delete", "none", "--yes"), "no study 'none'"),
        (("--prune", "none"), "no study 'none'"),
        (("--prune", "s", "--delete", "s"), "--delete and --prune: one at a time"),
        (("--yes",), "--yes: only with --delete, --rename, --prune"),
    ],
)
def test_what_cannot_be_meant_is_refused(place, words, reason):
    assert reason in refused("studies", *words)
    assert place.store.studies.names() == ["other", "s"]


def test_a_folder_of_the_new_name_is_not_mixed_with_the_study(place):
    write_files(place, f"{digest(1)}.safetensors")
    target = place.store.artifacts / "new"
    target.mkdir()
    shown = run("studies", "--rename", "s", "new")
    assert shown.exit_code == 4
    assert f"{target}: there already; move it away" in shown.stderr
    assert place.store.studies.names() == ["other", "s"]


def test_pruning_keeps_the_front_and_what_is_under_way(place):
    finish(place, evaluation(4, None))
    queue = TrialQueue(place.store, place.id, ELSEWHERE)
    lease = queue.claim(Limits(100, 10, 3), lambda _: place.study.ask().number).lease
    queue.begin_training(lease, digest(5))
    queue.release(lease)
    place.store.repeats(place.id).add(0, evaluation(6, 0.4))
    kept = [f"{digest(c)}.safetensors" for c in (1, 2, 3, 5)]
    kept += [POOL, "notes.txt", f"{digest(6)}.repeat0.safetensors"]
    ends = ("", ".traces", ".training")
    lost = [*(f"{digest(7)}{end}.safetensors" for end in ends), f"{digest(7)}.repeat0.lock"]
    folder = write_files(place, *kept, *lost, f"{digest(8)}.repeat1.safetensors")
    lock = (folder / f"{digest(8)}.repeat1.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    front = document("front", "s")["front"]
    shown = run("studies", "--prune", "s", "--yes")
    assert shown.exit_code == 0, shown.output
    assert (
        f"study s: 4 files, 2.0 MiB in {folder} (kept: 3 on the front, 3 under way)" in shown.stderr
    )
    assert shown.stdout == "study s: 4 files, 2.0 MiB freed\n"
    locked = [f"{digest(8)}.repeat1.{end}" for end in ("lock", "safetensors")]
    assert names_in(folder) == sorted([*kept, *locked])
    assert document("front", "s")["front"] == front
    lock.close()
    assert "6 files" not in run("studies", "--prune", "s", "--yes").output
    assert "nothing to delete" in run("studies", "--prune", "s").stdout


def test_halving_keeps_what_may_still_be_promoted(store, monkeypatch):
    monkeypatch.setenv("NAS_STORAGE", store.address)
    halving = {
        "training": {"epochs": 2, "rungs": [1]},
        "search": {"reduction_factor": 2, "trainings": 9},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    }
    search = stored_study(store, "h", [0.9, 0.1], **halving)
    folder = write_files(search, *(f"{digest(c)}.training.safetensors" for c in (1, 2)))
    assert document("studies", "--prune", "h", "--yes")["pruned"] == {"files": 0, "bytes": 0}
    assert len(names_in(folder)) == 2
    search.store.studies.set_budget(search.id, 2)
    monkeypatch.setattr(upkeep, "end_reason", lambda search: "budget spent")
    assert document("studies", "--prune", "h", "--yes")["pruned"]["files"] == 1
    assert names_in(folder) == [f"{digest(1)}.training.safetensors"]


@pytest.mark.parametrize(
    "words", [("--delete", "s", "--yes"), ("--rename", "s", "n"), ("--prune", "s")]
)
def test_a_running_study_is_left_alone_unless_forced(place, words):
    queue = TrialQueue(place.store, place.id, ELSEWHERE)
    queue.claim(Limits(100, 10, 3), lambda _: place.study.ask().number)
    text = refused("studies", *words)
    assert "study 's' is running: 1 worker has a trial of it, on node17" in text
    assert run("studies", *words, "--yes", "--force").exit_code == 0


@pytest.mark.parametrize("words", [("--delete", "s", "--yes"), ("--rename", "s", "new")])
def test_a_retraining_that_runs_here_is_left_alone(place, words):
    folder = write_files(place)
    with (folder / f"{digest(1)}.repeat0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a training has locked" in refused("studies", *words)


@pytest.mark.parametrize("words", [("--delete", "s", "--yes"), ("--rename", "s", "new")])
def test_a_worker_of_a_study_that_is_gone_ends_in_one_sentence(place, words):
    evaluator = Evaluator.open(place.spec, upkeep.folder_of(place.store, "s"))
    worker = Worker(place, evaluator, lambda line: None)
    assert run("studies", *words).exit_code == 0
    with pytest.raises(
        StudyError, match=r"not in the store any more|'s' is 'new' in the store now"
    ):
        worker.run()
    worker.asked_to_end.set()


def test_names_of_other_folders_are_refused(place):
    with place.store.engine.begin() as db:
        spec = json.dumps(json.loads(place.store.studies.get("s").spec) | {"name": "../x"})
        db.execute(sa.update(studies).where(studies.c.study_id == place.id).values(spec=spec))
    with pytest.raises(SpecError):
        upkeep.folder_of(place.store, "../x")
    assert run("studies", "--delete", "s", "--yes").exit_code == 0


def test_links_are_no_files_of_a_study(tmp_path):
    (tmp_path / "far").write_text("x")
    (tmp_path / "s").mkdir()
    (tmp_path / f"s/{digest(1)}.safetensors").symlink_to(tmp_path / "far")
    assert artifacts_in(tmp_path / "s") == []
    assert artifacts.SHARED[0] == POOL


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 KiB"), (30_000, "29 KiB"), (2**20, "1.0 MiB"), (3 * 2**30, "3072.0 MiB")],
)
def test_small_files_are_counted_in_KiB(size, text):
    assert str(Space(2, size)) == f"2 files, {text}"
