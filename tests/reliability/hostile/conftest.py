"""Somebody's files, opened with a tripwire up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import judge as judges
import pytest
from tripwire import tripwire


@pytest.fixture
def secret(tmp_path) -> Path:
    """A folder of the user's, of which nothing may be read and nothing changed."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "kept.png").write_text("kept")
    return tmp_path / "secret"


@pytest.fixture
def done(tmp_path) -> Path:
    """The file that payloads make."""
    return tmp_path / "done"


@pytest.fixture
def opened(judge, at, secret, done, tmp_path) -> Callable[..., str]:
    """Calls a command, which must refuse what it is given, or may make sense of it; nothing else may happen."""

    def opened(line: str, bad: Path | str = "", may: bool | str = False) -> str:
        before = judges.tree(secret)
        with tripwire(at, tmp_path / "out", secrets=(secret,)) as wire:
            said = judge(line, bad, may=may)
        assert wire.caught == []
        assert judges.tree(secret) == before
        assert not done.exists()
        return said

    return opened
