"""Where to compute."""

from __future__ import annotations

import pytest
import torch

from arf.errors import UserError
from arf.jobs.device import free_memory, pick_device


def test_the_device_is_named_or_found():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UserError, match="device is 'tpu'"):
        pick_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="use --device cpu"):
        pick_device("cuda")


def test_free_memory_is_a_plausible_number():
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50
