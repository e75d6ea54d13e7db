"""J40: two jobs never write one output. The second is told so in one line, and touches nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import judge as judges
import pytest
from commands import refused, run
from good import CALLS, OF_PAINTED_SPLATS, OF_SPLATS

from arf.jobs.interrupts import Ended
from arf.jobs.locks import owned
from arf.jobs.runs import Run

OWNED = {  # what a first job of each owns, below {out}
    "render": "o.mp4", "video": "o.mp4", "demo": "o", "gatys": "o.png", "texture": "o.png", "invert": "o.png",
    "dream": "o.png", "features": "o", "adain": "o.png", "cast": "o.png", "fast": "o.png", "export": "o.ply",
    "onnx": "o.onnx",
}  # fmt: skip


OPTIMISED = {"gatys", "texture", "invert", "dream"}  # theirs is named as their states and previews are


def lock_of(name: str, path: Path) -> Path | None:
    """Where its lock lies, if not beside it under its own name."""
    if name == "demo":
        return path / ".lock"
    return path.with_name(f".{path.stem}.lock") if name in OPTIMISED else None


@pytest.mark.parametrize("name", OWNED)
def test_the_second_writer_of_an_output_is_refused(name, good, tmp_path, capsys):
    line = CALLS[name].format(**asdict(good), out=tmp_path)
    first = tmp_path / OWNED[name]
    with owned(first, lock_of(name, first)):
        before = judges.tree(tmp_path)
        said = refused(capsys, *line.split())
        assert f"{first} is being written by another arf (process " in said
        assert judges.tree(tmp_path) == before
    assert not list(tmp_path.rglob(".*"))


SHARED = {"render": "o.mp4", "export": "o.ply", "export html": "o.html", "export points": "o.ply"}


@pytest.mark.parametrize("calls", [OF_SPLATS, OF_PAINTED_SPLATS], ids=["brought", "painted"])
@pytest.mark.parametrize("name", SHARED)
def test_the_second_to_share_splats_is_refused(name, calls, good, tmp_path, capsys):
    line = calls[name].format(**asdict(good), out=tmp_path)
    first = tmp_path / SHARED[name]
    with owned(first):
        before = judges.tree(tmp_path)
        for flags in ("", " --overwrite"):
            said = refused(capsys, *(line + flags).split())
            assert f"{first} is being written by another arf (process " in said
        assert judges.tree(tmp_path) == before
    assert run(capsys, *line.split())[0] == 0
    assert not list(tmp_path.rglob(".*"))


def test_pictures_that_share_a_state_share_an_owner(good, tmp_path, capsys):
    """made.png and made.jpg both have made.resume.safetensors and made.preview.png."""
    line = CALLS["gatys"].format(**asdict(good), out=tmp_path).replace("o.png", "made.jpg")
    with owned(tmp_path / "made.png", tmp_path / ".made.lock"):
        assert "is being written" in refused(capsys, *line.split())


def test_a_film_that_is_being_painted_is_not_one_that_was_stopped(good, tmp_path, capsys):
    """Both have a state."""
    line = CALLS["video"].format(**asdict(good), out=tmp_path)
    (tmp_path / "o.parts").mkdir()
    (tmp_path / "o.parts" / "state.safetensors").touch()
    with owned(tmp_path / "o.mp4"):
        assert "is being written by another arf" in refused(capsys, *line.split())
    assert "was begun and stopped" in refused(capsys, *line.split())


def test_one_picture_that_another_paints_does_not_keep_the_others_from_it(good, tmp_path, capsys, caplog):
    call = ["fast", good.photo, good.style, "--style", "mosaic", "--output", tmp_path]
    names = [f"{path.stem}-mosaic-fast.png" for path in (good.photo, good.style)]
    with owned(tmp_path / names[0]):
        assert "1 of 2 pictures could not be painted" in refused(capsys, *call)
    assert "is being written by another arf" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == names[1:]
    assert run(capsys, *call, "--resume")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


BEGUN = {  # where a job of each kind can be stopped
    CALLS["fit"]: "arf.radiance.fit.loop.evaluate",
    CALLS["stylize"]: "arf.radiance.paint.stylize.Subject.open",
    OF_SPLATS["stylize"]: "arf.radiance.paint.stylize.Subject.open",
    CALLS["train"]: "arf.training.train.Loop",
}


def stop(*_: object, **__: object) -> None:
    raise Ended(15)


@pytest.mark.parametrize("call", BEGUN, ids=["fit", "stylize", "stylize splats", "train"])
def test_the_second_to_resume_a_run_is_refused(call, good, tmp_path, capsys, monkeypatch):
    line = call.format(**asdict(good), out=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(BEGUN[call], stop)
        code, _, said = run(capsys, *line.split())
    path = Run.open(tmp_path, finished=False).path
    assert (code, f"--resume {path}\n" in said) == (143, True)
    with Run.open(path, finished=False).at_work():
        before = judges.tree(tmp_path)
        said = refused(capsys, line.split()[0], "--resume", path)
        assert f"{path} is being written by another arf (process " in said
        assert judges.tree(tmp_path) == before
    assert not list(tmp_path.rglob(".*"))
