"""No VGG in these tests, and one small nerfacto for all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from encoders import tiny_encoder
from tiny import STYLIZE

from arf.jobs.runs import Run
from arf.radiance.extras import nerfstudio_is_installed
from arf.radiance.fit.loop import fit
from arf.radiance.paint.stylize import stylize

collect_ignore_glob = [] if nerfstudio_is_installed() else ["test_*.py"]


@pytest.fixture(autouse=True)
def _small(small_encoder) -> None:
    """Its weights may be absent, and it is slow."""


@pytest.fixture(scope="session")
def nerfacto(room, tmp_path_factory) -> Run:
    """A nerfacto with few samples and features that has learnt next to nothing. Read only."""
    from nerfactos import TINY, small_fits

    with small_fits():
        return fit(room, TINY, tmp_path_factory.mktemp("nerfactos"))


@pytest.fixture(scope="session")
def painted_nerfacto(nerfacto, paintings, tmp_path_factory) -> Run:
    """That nerfacto, repainted. Read only."""
    settings = replace(STYLIZE, steps=4, color_resolution=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        return stylize(nerfacto, paintings[:1], settings, tmp_path_factory.mktemp("painted"))
