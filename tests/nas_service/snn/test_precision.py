"""bf16 where the processor has it, and a line of log where it does not."""

import logging

import pytest
import torch

from nas_service.snn import precision


@pytest.fixture(params=[True, False])
def native(request, monkeypatch):
    """A processor with bf16 and one without."""
    monkeypatch.setattr(precision, "native_bf16", lambda kind="cpu": request.param)
    precision._warn_of_fp32.cache_clear()
    return request.param


def test_bf16_is_used_where_the_processor_supports_it(native, caplog):
    x = torch.ones(2, 2)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with precision.autocast(bf16=True):
                assert (x @ x).dtype == (torch.bfloat16 if native else torch.float32)
    assert len(caplog.messages) == (0 if native else 1)
    with precision.autocast(bf16=False):
        assert (x @ x).dtype == torch.float32


def test_bf16_support_is_read_from_the_processor():
    assert precision.native_bf16("cpu") in (True, False)
    assert precision.native_bf16("meta") is False
