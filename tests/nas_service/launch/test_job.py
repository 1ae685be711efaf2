"""What every engine checks: the name of the study, and ranges of numbers."""

import pytest
from launched_study import HOSTILE

from nas_service.errors import SpecError
from nas_service.launch import dask_task
from nas_service.launch.job import Job


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_study_is_refused(name):
    with pytest.raises(SpecError, match="name"):
        Job(name)
    with pytest.raises(SpecError, match="name"):
        dask_task.new_task(name, "/data", None, False)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"workers": 0}, "--workers 0: must be in 1..10000"),
        ({"workers": 10**6}, "--workers 1e+06"),
        ({"cpus": -1}, "--cpus -1"),
        ({"memory_GiB": 10**9}, "--memory 1e+09"),
        ({"grace_s": 0}, "--grace 0"),
    ],
)
def test_numbers_have_a_range(given, option):
    with pytest.raises(SpecError) as caught:
        Job("tiny", **given)
    assert option in str(caught.value)
