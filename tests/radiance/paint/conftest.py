"""An open subject for tests that only read it."""

from __future__ import annotations

import pytest
import torch

from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.subject import Subject
from arf.radiance.settings import RepaintSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def subject(fitted, tmp_path_factory) -> Subject:
    """Of the room, with whole matrices. Read only."""
    field, capture = open_photoreal(fitted, CPU)
    subject = Subject(field, capture.train, RepaintSettings(size=64, device="cpu", drop_weight=0.0))
    subject.open(ViewCache(1 << 30, tmp_path_factory.mktemp("cache"), CPU))
    return subject
