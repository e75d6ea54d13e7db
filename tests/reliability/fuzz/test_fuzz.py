"""Every reader of files gets files gone wrong: it reads them or says why not, and never anything else.

A few examples each, the same every time; `pytest tests/reliability/fuzz --fuzz 3600` tries new ones for an hour per
reader, and prints the file that a reader fell over.
"""

from __future__ import annotations

import logging
import time
import warnings
from contextlib import suppress

import judge as judges
import pytest
from documents import documents, noise
from hypothesis import HealthCheck, Phase, given, seed, settings
from readers import NEEDS_NERFSTUDIO, READERS, SLOW

from arf.errors import UserError

EXAMPLES = 25


@pytest.mark.parametrize("how", ["values", "bytes"])
@pytest.mark.parametrize("name", READERS)
def test_readers(name, how, good, tmp_path, pytestconfig, caplog):
    make, codec = READERS[name]
    if name in NEEDS_NERFSTUDIO:
        pytest.importorskip("nerfstudio")
    if how == "values" and codec is None:
        pytest.skip("bytes alone")
    file, read = make(good, tmp_path)
    valid = file.read_bytes()
    read()
    caplog.set_level(logging.ERROR)  # till the end of the test

    def one(content: bytes) -> None:
        file.write_bytes(content)
        try:
            with judges.guarded(), warnings.catch_warnings(), suppress(UserError):
                warnings.simplefilter("ignore")
                read()
        except judges.Hang:
            raise AssertionError("hangs") from None

    spoiled = documents(valid, codec) if how == "values" else noise(valid)
    shared = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    seconds = pytestconfig.getoption("--fuzz")
    if not seconds:
        few = SLOW.get(name, EXAMPLES)
        settings(max_examples=few, derandomize=True, phases=(Phase.generate,), **shared)(given(spoiled)(one))()
        return
    end, number = time.monotonic() + seconds, int(time.time())
    while time.monotonic() < end:
        number += 1
        settings(max_examples=200, **shared)(seed(number)(given(spoiled)(one)))()
