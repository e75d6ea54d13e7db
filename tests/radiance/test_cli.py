"""The command line: results, presets, and one line with exit code 2 for whatever is wrong."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress

import pytest
import street
from commands import refused, run
from matched import blanked
from PIL import Image

from arf.jobs.runs import Run
from arf.radiance.fields.jit import COMPILING

TINY = ["--steps", "20", "--resolutions", "12", "--stages", "--samples", "4000", "--device", "cpu", "--json"]


def test_help_imports_neither_torch_nor_nerfstudio():
    code = "import sys, arf.cli; sys.exit(any(m in sys.modules for m in ('torch', 'nerfstudio', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_whole_chain(room, paintings, tmp_path, capsys):
    code, out, err = run(capsys, "fit", room, "--output", tmp_path, *TINY)
    assert (code, err.replace(f"{COMPILING}\n", "")) == (0, "")
    assert {"run", "psnr", "samples_per_ray", "train_seconds"} <= json.loads(out).keys()
    fitted = json.loads(out)["run"]
    code, out, _ = run(
        capsys, "stylize", tmp_path, "--style", paintings[0], "--style", paintings[1], "--style-weights", 2, 1,
        "--steps", 3, "--layers", "relu2_1", "--output", tmp_path, "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0
    made = Run.open(json.loads(out)["run"], "stylize")
    assert made.info["styles"] == [str(p) for p in paintings]
    assert made.info["settings"]["style_weights"] == [2.0, 1.0]
    assert (made.path / "preview.png").is_file()
    assert (made.path / "losses.png").is_file()
    code, out, _ = run(
        capsys, "render", tmp_path / "room" / "arf", "--path", "orbit", "--frames", 2, "--no-png", "--json"
    )
    assert code == 0
    assert json.loads(out) == {"video": str(made.path / "renders" / "orbit.mp4"), "frames": 2}
    assert [p.name for p in (made.path / "renders").iterdir()] == ["orbit.mp4"]
    code, out, _ = run(capsys, "evaluate", fitted)
    assert code == 0
    assert "3 held-out views" in out


def test_flags_win_over_a_preset(room, tmp_path, capsys):
    preset = tmp_path / "p.yaml"
    preset.write_text("fit:\n  steps: 999999\n  seed: 5\n  prune_below: 0.001\n")
    code, out, _ = run(capsys, "fit", room, "--backbone", "voxel", "--config", preset, "--output", tmp_path, *TINY)
    assert code == 0
    settings = Run.open(json.loads(out)["run"]).info["settings"]
    assert (settings["steps"], settings["seed"], settings["prune_below"]) == (20, 5, 0.001)


def test_a_preset_serves_runs_that_have_no_use_for_all_of_it(fitted, paintings, tmp_path, capsys):
    preset = tmp_path / "p.yaml"
    preset.write_text("render:\n  compare: true\n  strength: 0.5\nstylize:\n  color_resolution: 64\n")
    told = ("--frames", 1, "--no-png", "--config", preset)
    assert run(capsys, "render", fitted.path, *told, "--output", tmp_path / "a.mp4")[0] == 0
    assert "photoreal" in refused(
        capsys, "render", fitted.path, *told, "--strength", 0.7, "--output", tmp_path / "b.mp4"
    )
    tiny = ("--style", paintings[0], "--steps", 1, "--layers", "relu2_1", "--device", "cpu", "--output", tmp_path)
    assert run(capsys, "stylize", fitted.path, "--config", preset, *tiny)[0] == 0
    assert "--color-resolution" in refused(capsys, "stylize", fitted.path, "--color-resolution", 64, *tiny)


def test_what_is_missing_is_said(tmp_path, capsys, fitted, paintings):
    assert "no capture" in refused(capsys, "fit", tmp_path / "none")
    assert "fit what?" in refused(capsys, "fit")
    assert "stylize what?" in refused(capsys, "stylize")
    assert "no run" in refused(capsys, "stylize", tmp_path / "none", "--style", paintings[0])
    assert "no style picture" in refused(capsys, "stylize", fitted.path)
    assert "--resume" not in refused(capsys, "fit", "--resume", tmp_path)
    assert "has finished" in refused(capsys, "fit", "--resume", fitted.path)
    assert ".mp4" in refused(capsys, "render", fitted.path, "--output", tmp_path / "film.avi")
    assert "stylize run is needed" in refused(capsys, "stylize", "--resume", fitted.path)
    assert "no layer relu9_1" in refused(
        capsys, "stylize", fitted.path, "--style", paintings[0], "--layers", "relu9_1", "--output", tmp_path
    )
    assert "as many weights" in refused(
        capsys, "stylize", fitted.path, "--style", paintings[0], "--style-weights", 1, 2, "--layers", "relu2_1"
    )
    assert not list(tmp_path.iterdir())


def test_a_tiny_style_picture_is_refused(fitted, tmp_path, capsys):
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert "dot.png" in refused(
        capsys, "stylize", fitted.path, "--style", tmp_path / "dot.png", "--output", tmp_path / "o"
    )
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("flag", [["--steps", "0"], ["--learning-rate", "-1"], ["--samples", "0"], ["--step", "0"]])
def test_settings_that_make_no_sense_are_refused(room, tmp_path, capsys, flag):
    assert flag[0].lstrip("-").replace("-", "_") in refused(
        capsys, "fit", room, "--output", tmp_path, "--resolutions", "12", "--stages", *flag
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_is_said_after_a_signal_is_true(monkeypatch, room, capsys, tmp_path, number, code):
    """J33: nothing is saved before there is a run; then its own name is in the line."""

    def interrupted(*_, **__):
        signal.raise_signal(number)

    def begun(*_, **__):
        interrupted()
        raise KeyboardInterrupt

    words = "fit", room, *TINY, "--backbone", "splat", "--output", tmp_path
    monkeypatch.setattr("arf.radiance.fit.splats.start.STEPS", 10)
    with monkeypatch.context() as patch:
        patch.setattr("arf.radiance.fit.loop.load_capture", interrupted)
        assert run(capsys, *words) == (code, "", "arf: stopped\n")
        assert not list(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("arf.radiance.fit.splats.state.start", begun)
        stopped = run(capsys, *words)
    path = Run.open(tmp_path, finished=False).path
    assert stopped == (code, "", f"arf: stopped; nothing is saved yet, begin it again with --resume {path}\n")
    with monkeypatch.context() as patch:
        patch.setattr("arf.radiance.fit.loop.evaluate", interrupted)
        stopped = run(capsys, "fit", "--resume", path, "--json")
    assert stopped == (code, "", f"arf: stopped; what was done is saved, go on with --resume {path}\n")
    assert not (path / ".lock").exists()
    assert run(capsys, "fit", "--resume", path, "--json")[0] == 0


def test_from_bare_photographs_to_a_fit(tmp_path, capsys, monkeypatch):
    limits = []
    monkeypatch.setattr("arf.cli.common.limit_threads", limits.append)
    street.photograph(tmp_path / "photos", street.around(8))
    (tmp_path / "photos" / "notes.txt").write_text("not a photograph")
    told = ("--backbone", "voxel", "--threads", 1, "--output", tmp_path / "out", *TINY)
    code, out, _ = run(capsys, "fit", tmp_path / "photos", *told)
    assert code == 0
    fitted = Run.open(json.loads(out)["run"])
    assert fitted.path.parent.parent == tmp_path / "out" / "photos"
    assert limits == [1]
    assert fitted.info["data"] == str(tmp_path / "out" / "captures" / "photos")
    assert run(capsys, "evaluate", fitted.path)[0] == 0
    code, out, _ = run(capsys, "cameras", tmp_path / "photos", "--output", tmp_path / "out/captures/photos", "--json")
    found = json.loads(out)
    assert (code, found["placed"], found["of"], found["left_out"]) == (0, 8, 8, {})


def test_cameras_says_what_it_found_and_what_is_next(tmp_path, capsys, caplog):
    street.photograph(tmp_path / "photos", street.around(5, 0.8))
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"x")
    code, out, _ = run(capsys, "cameras", tmp_path / "photos", "--output", tmp_path / "c", "--quiet")
    assert code == 0
    assert caplog.messages == [
        "no camera for 1 of 6 photographs: bad.jpg: not a picture that can be read, or its header is damaged; "
        "convert it to PNG or JPEG"
    ]
    first, second, third = out.splitlines()
    assert first == str(tmp_path / "c")
    assert re.match(r"5 of 6 photographs placed, \d+ points, 0\.\d\d pixels off; focal length \d+ pixels$", second)
    assert third == f"next: arf fit {tmp_path / 'c'}"


def test_flags_of_photographs_have_no_use_for_a_capture(room, tmp_path, capsys):
    assert "--frames has no use for" in refused(capsys, "fit", room, "--frames", 20, "--output", tmp_path)
    assert "--frames has no use without a video" in refused(capsys, "cameras", room / "images", "--frames", 20)
    assert "threads is 0" in refused(capsys, "fit", room, "--threads", 0)


def test_a_killed_search_for_cameras_is_gone_on_with(tmp_path, capsys):
    """In the midst of the matches: those that were written are not made again."""
    street.photograph(tmp_path / "photos", street.around(16, 2.4))
    words = ("cameras", tmp_path / "photos", "--output", tmp_path / "c", "--threads", "1")
    process = subprocess.Popen([sys.executable, "-m", "arf", *map(str, words)], stderr=subprocess.PIPE)
    database = tmp_path / "c" / "colmap" / "database.db"

    def matched() -> int:
        if not database.exists():
            return 0
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as opened:
            return opened.execute("SELECT COUNT(*) FROM matches").fetchone()[0]

    while process.poll() is None:
        with suppress(sqlite3.Error):
            if matched() >= 50:
                process.kill()
        time.sleep(0.05)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "c" / "transforms.json").exists()
    before = matched()
    assert 50 <= before < 120
    kept = blanked(database)
    told = ("cameras", tmp_path / "photos", "--output", tmp_path / "c", "--json")
    code, out, _ = run(capsys, *told)
    assert (code, json.loads(out)["placed"]) == (0, 16)
    assert kept()
