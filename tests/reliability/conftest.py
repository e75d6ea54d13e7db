"""Good inputs, and the judge of bad ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import good as good_inputs
import judge as judges
import pytest
from good import Good


@pytest.fixture(scope="session")
def good(room, tmp_path_factory) -> Good:
    """Inputs that every command takes. Read only."""
    return good_inputs.make(tmp_path_factory.mktemp("good"), room)


@pytest.fixture
def at(tmp_path) -> Path:
    """An empty folder for a spoiled input."""
    (tmp_path / "bad").mkdir()
    return tmp_path / "bad"


@pytest.fixture
def judge(good, tmp_path, capfd, monkeypatch) -> Callable[..., str]:
    """Calls a command and asserts that it refuses its input: code 2, one line, nothing written, nothing changed."""
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)

    def judge(line: str, bad: Path | str = "", may: bool | str = False, never: str = "") -> str:
        """
        Args:
            line: of a command. {bad} is `bad`, {out} a folder, other names are good inputs.
            may: the command may also make sense of it, and end with 0; "write" where its input is its output.
            never: words that would be a wrong diagnosis.
        """
        names = {**asdict(good), "bad": bad, "out": out}
        words = [word.format(**names) for word in line.split(" ")]
        places = (tmp_path, good.root)
        before = judges.tree(*places)
        capfd.readouterr()
        code, trace = judges.call(words)
        printed, said = capfd.readouterr()
        faults = [trace] if trace else []
        if may and code == 0:
            if may != "write":
                after = judges.tree(*places)
                assert not [path for path, state in before.items() if after.get(path) != state]
            return printed
        if code != 2:
            faults.append(f"code {code}")
        faults += judges.complaints(words, said)
        if changed := sorted(dict(before.items() ^ judges.tree(*places).items())):
            faults.append(f"changed {changed}")
        if printed:
            faults.append(f"prints {printed!r}")
        if never and never in said:
            faults.append(f"says {never!r}")
        assert not faults, "\n".join([*faults, said])
        return said

    return judge
