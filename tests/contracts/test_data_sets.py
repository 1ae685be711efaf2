"""What every data set promises, as far as it can be shown without its files."""

import re
from pathlib import Path

import pytest

from nas_service.data import DATASETS, source_of
from nas_service.data.dataset import PARTS, Files
from nas_service.data.sets import image_folder
from nas_service.errors import DataError, SpecError
from nas_service.study.sections import Data

IN_FILES = [name for name, source in DATASETS.items() if isinstance(source, Files)]
HASH_DIGITS = {"sha256": 64, "md5": 32}
DOCUMENT = Path(__file__).parents[2] / "docs/data.md"


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_states_its_task_and_origin(name):
    source = DATASETS[name]
    assert source.name == name
    assert source_of(Data(name=name)) is source
    assert source.task.classes >= 2
    assert source.task.channels in ((2,) if source.task.events else (1, 3))
    assert source.task.size >= 8
    assert source.validation_samples > source.task.classes
    assert source.home.startswith("http")
    assert source.licence


@pytest.mark.parametrize("name", DATASETS)
def test_it_takes_no_key_of_an_image_folder(name):
    with pytest.raises(SpecError, match=f"data.size: only for image_folder; {name} has a fixed"):
        source_of(Data(name=name, size=8))


@pytest.mark.parametrize("name", DATASETS)
def test_the_documentation_lists_it(name):
    assert f"`{name}`" in DOCUMENT.read_text()


@pytest.mark.parametrize("name", IN_FILES)
def test_it_names_its_files(name):
    source = DATASETS[name]
    assert source.uses.keys() == set(PARTS)
    assert all(source.uses.values())
    for part in PARTS:
        assert any(part in location.parts for location in source.locations)
    for location in source.locations:
        assert not Path(location.path).is_absolute()
        assert ".." not in Path(location.path).parts


@pytest.mark.parametrize("name", IN_FILES)
def test_published_hashes_are_well_formed(name):
    for file, published in DATASETS[name].published.items():
        kind, _, digits = published.partition(":")
        assert Path(file).name == file
        assert re.fullmatch(rf"[0-9a-f]{{{HASH_DIGITS[kind]}}}", digits)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", IN_FILES)
def test_missing_files_name_where_they_are_searched_and_published(name, part, tmp_path):
    source = DATASETS[name]
    read = {"train": source.read_train, "test": source.read_test}[part]
    with pytest.raises(DataError) as caught:
        read(tmp_path, 2)
    message = str(caught.value)
    assert message.startswith(f"{name}: no files of its {part} part in {tmp_path}")
    assert source.home in message
    assert "NAS_DATA" in message
    for location in source.locations:
        assert (location.path or ".") in message or part not in location.parts


@pytest.mark.parametrize("name", IN_FILES)
def test_damaged_files_are_no_data_set(name, tmp_path):
    """All official archives and files, their content noise: an error, never images."""
    source = DATASETS[name]
    top = tmp_path / source.locations[0].path
    files = [top] if top.suffix in (".zip", ".gz") else [top / f for f in source.uses["train"]]
    for file in files:
        path = file if file != top or top.suffix else top / "noise.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"noise")
    with pytest.raises(DataError):
        source.read_train(tmp_path, 2)


@pytest.mark.parametrize("key", ["archive", "size", "classes"])
def test_an_image_folder_needs_its_keys(key):
    keys = {"archive": "images", "size": 8, "classes": 2}
    del keys[key]
    with pytest.raises(SpecError, match=f"needs data.{key}"):
        source_of(Data(name=image_folder.NAME, **keys))
