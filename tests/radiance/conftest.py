"""No VGG in these tests."""

import pytest


@pytest.fixture(autouse=True)
def _small(small_encoder) -> None:
    """Its weights may be absent, and it is slow."""
