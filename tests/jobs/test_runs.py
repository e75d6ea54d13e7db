"""Run directories: opened, refused, written whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from arf.errors import UserError
from arf.jobs.door import settings_from
from arf.jobs.runs import Curves, Run
from arf.media import image


@dataclass
class Settings:
    steps: int = 3
    layers: tuple[str, ...] = ("a", "b")


def finished(output: Path, kind: str, stamp: str | None = None, scene: str = "room") -> Run:
    """A run, moved to a timestamp of our choosing."""
    run = Run.create(output, scene, f"arf-{kind}", kind=kind)
    run.finish()
    if stamp:
        run.path = run.path.rename(run.path.parent / stamp)
    return run


def test_create_lays_out_and_open_reads_back(tmp_path):
    run = Run.create(tmp_path, "room", "arf-voxel", kind="fit", data=Path("/some/where"), settings=Settings(steps=7))
    assert run.path.parent == tmp_path / "room" / "arf-voxel"
    run.finish(metrics={"psnr": 20.5})
    again = Run.open(run.path)
    assert again.path == run.path
    assert again.info["kind"] == "fit"
    assert again.info["data"] == "/some/where"
    assert again.info["metrics"] == {"psnr": 20.5}
    assert again.info["finished"] is True
    assert settings_from(Settings, again.info["settings"], "run") == Settings(7, ("a", "b"))


def test_runs_of_one_second_do_not_share_a_directory(tmp_path):
    paths = {Run.create(tmp_path, "room", "arf", kind="fit").path for _ in range(4)}
    assert len(paths) == 4


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_runs_are_named_by_one_clock(tmp_path, monkeypatch, zone):
    """J41: in the autumn an hour comes twice, everywhere but in UTC."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        before = time.strftime("%Y-%m-%d_%H%M%S", time.gmtime())
        name = Run.create(tmp_path, "room", "arf", kind="fit").name
        assert before <= name <= time.strftime("%Y-%m-%d_%H%M%S", time.gmtime())
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_clock_that_is_set_back_makes_no_run_the_older(tmp_path):
    """J41: whatever stands below the output comes before what is made now, and the tenth after the ninth."""
    finished(tmp_path, "fit", "2999-01-01_000000", scene="attic")
    made = [finished(tmp_path, "fit") for _ in range(11)]
    assert [run.name for run in made] == [f"2999-01-01_000000-{i:02d}" for i in range(2, 13)]
    assert Run.open(tmp_path).path == made[-1].path
    for name in ("2999-01-01_000000-2", "renamed"):  # as an earlier arf numbered, and as a person does
        finished(tmp_path, "fit", name, scene="loft")
        assert Run.open(tmp_path).path == made[-1].path


def test_jobs_that_begin_at_once_make_runs_of_their_own(tmp_path):
    """J5"""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Run.create(tmp_path, "room", "arf", kind="fit").path, range(16)))
    assert len(set(made)) == 16


def work(run: Run) -> None:
    with run.at_work():
        pass


def test_a_run_has_one_job(tmp_path):
    run = Run.create(tmp_path, "room", "arf", kind="fit")
    late = Run.open(run.path, finished=False)
    with run.at_work():
        with pytest.raises(UserError, match=rf"{run.path} is being written by another arf .*; wait for it$"):
            work(late)
        run.finish()
    with pytest.raises(UserError, match="has finished meanwhile"):
        work(late)
    assert [p.name for p in run.path.iterdir()] == ["arf.json"]


def test_open_takes_the_newest_of_the_kind_below_a_folder(tmp_path):
    stamps = ("2024-05-01_120000", "2025-01-01_000000", "2024-12-31_235959")
    for stamp in stamps:
        finished(tmp_path, "fit", stamp)
    finished(tmp_path, "fit", "2024-11-11_111111", scene="attic")  # an older one in another scene
    finished(tmp_path, "stylize", "2025-06-06_060606")
    assert Run.open(tmp_path, "fit").name == "2025-01-01_000000"
    assert Run.open(tmp_path / "attic", "fit").name == "2024-11-11_111111"
    assert Run.open(tmp_path).name == "2025-06-06_060606"
    assert Run.open(tmp_path / "room" / "arf-fit" / stamps[0], "fit").name == stamps[0]


def test_unfinished_runs_are_passed_over_unless_asked_for(tmp_path):
    done = finished(tmp_path, "fit", "2024-01-01_000000")
    open_run = Run.create(tmp_path, "room", "arf-fit", kind="fit")
    assert Run.open(tmp_path, "fit").path == done.path
    assert Run.open(tmp_path, "fit", finished=False).path == open_run.path
    with pytest.raises(UserError, match=f"{open_run.path} has not finished.*--resume"):
        Run.open(open_run.path, "fit")


def test_what_is_no_run_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is no run and holds none.*arf\.json"):
        Run.open(tmp_path)
    stylized = finished(tmp_path / "s", "stylize")
    with pytest.raises(UserError, match="holds a stylize run, but a fit run is needed"):
        Run.open(stylized.path, "fit")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", r"arf\.json: expected object, got array; make the run again"),
        ('{"kind": "fit"}', "object missing required field format"),
        ('{"format": "1", "kind": "fit", "finished": true}', "format: expected int, got str"),
        ('{"format": 1, "kind": 5, "finished": true}', "kind: expected str, got int"),
        ('{"format": 1, "kind": "fit", "finished": "no"}', "finished: expected bool, got str"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path, text, message):
    run = finished(tmp_path, "fit")
    (run.path / "arf.json").write_text(text)
    with pytest.raises(UserError, match=message):
        Run.open(run.path)


def test_a_run_of_another_version_is_refused_by_name(tmp_path):
    run = finished(tmp_path, "fit")
    info = json.loads((run.path / "arf.json").read_text())
    (run.path / "arf.json").write_text(json.dumps(info | {"format": 99, "arf": "7.2.1"}))
    with pytest.raises(UserError, match=r"written by arf 7\.2\.1 \(run format 99\)"):
        Run.open(run.path)


def test_tensors_and_notes_go_round(tmp_path):
    run = finished(tmp_path, "fit")
    tensors = {
        "half": torch.rand(3, 2).half(), "index": torch.arange(5, dtype=torch.int32), "none": torch.zeros(0, 3),
        "view": torch.rand(4, 6).t(), "flag": torch.tensor([True, False]), "step": torch.tensor(3.0),
    }  # fmt: skip
    run.save("model", tensors, step=12, curves=[{"step": 1, "rgb": 0.5}])
    found, notes = run.load("model")
    assert notes == {"step": 12, "curves": [{"step": 1, "rgb": 0.5}]}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert run.has("model")
    assert not run.has("resume")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_refused_and_named(tmp_path, share):
    run = finished(tmp_path, "fit")
    run.save("model", {"table": torch.rand(1000, 4)}, step=1)
    file = run.path / "model.safetensors"
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(UserError, match=rf"{file} is (empty|cut short or corrupt)") as caught:
        run.load("model")
    assert "\n" not in str(caught.value)


def test_a_missing_checkpoint_is_refused_and_named(tmp_path):
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        finished(tmp_path, "fit").load("model")


def test_a_save_that_fails_keeps_the_earlier_file(tmp_path, monkeypatch):
    run = finished(tmp_path, "fit")
    run.save("model", {"table": torch.ones(8)}, step=1)

    def breaks(_: object, path: Path, **__: object) -> None:
        Path(path).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("arf.jobs.tensors.save_file", breaks)
    with pytest.raises(UserError, match=r"model\.safetensors: No space left on device; free some space"):
        run.save("model", {"table": torch.zeros(8)}, step=2)
    tensors, notes = run.load("model")
    assert torch.equal(tensors["table"], torch.ones(8))
    assert notes == {"step": 1}
    assert sorted(p.name for p in run.path.iterdir()) == ["arf.json", "model.safetensors"]


def test_a_description_that_cannot_be_written_keeps_the_earlier_one(tmp_path):
    run = finished(tmp_path, "fit")
    before = (run.path / "arf.json").read_bytes()
    run.info["metrics"] = {"psnr": float("nan")}  # which JSON has not
    with pytest.raises(ValueError, match="JSON"):
        run.save_info()
    assert (run.path / "arf.json").read_bytes() == before


def test_finishing_drops_what_only_a_resumption_needs(tmp_path):
    run = Run.create(tmp_path, "room", "arf", kind="fit")
    run.save("resume", {"table": torch.ones(3)}, step=1)
    run.save("model", {"table": torch.ones(3)}, step=2)
    run.finish(steps=2)
    assert not run.has("resume")
    assert run.has("model")
    assert json.loads((run.path / "arf.json").read_text())["steps"] == 2


def test_unknown_settings_are_refused():
    with pytest.raises(UserError, match="run: there is no setting 'colour'; known are steps, layers"):
        settings_from(Settings, {"steps": 1, "size": 2, "colour": 3}, "run")


def test_curves_are_a_table_a_picture_and_tensorboard_events(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows: list[dict[str, float]] = []
    with Curves(tmp_path, rows) as curves:
        curves.draw()
        assert not (tmp_path / "losses.png").exists()  # nothing to draw yet
        curves.add(10, {"rgb": 0.5, "psnr": 12.0})
        curves.add(20, {"rgb": 0.25, "psnr": 15.0})
        curves.draw()
    with open(tmp_path / "losses.csv", newline="") as file:
        found = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert found == rows == [{"step": 10, "rgb": 0.5, "psnr": 12.0}, {"step": 20, "rgb": 0.25, "psnr": 15.0}]
    assert image.read(tmp_path / "losses.png").std() > 0.01
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("rgb")] == [(10, 0.5), (20, 0.25)]


def test_resumed_curves_go_on_where_they_were(tmp_path):
    rows = [{"step": 10, "rgb": 0.5}]
    with Curves(tmp_path, rows) as curves:
        curves.add(20, {"rgb": 0.4})
        curves.draw()
    with open(tmp_path / "losses.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["10", "20"]
