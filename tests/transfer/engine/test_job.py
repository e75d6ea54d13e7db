"""The files of one optimisation: previews, traces, states, and what stands in their way."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from samples import photo

from arf.errors import UserError
from arf.jobs.tensors import load_tensors, save_tensors
from arf.media import image
from arf.transfer.dream import dream
from arf.transfer.engine import job as job_module
from arf.transfer.engine.job import Job, state_path
from arf.transfer.engine.optimize import Interrupted, Moment, State
from arf.transfer.engine.search import Memory
from arf.transfer.gatys import gatys
from arf.transfer.invert import invert
from arf.transfer.settings import DreamSettings, GatysSettings, InvertSettings, TextureSettings
from arf.transfer.texture import texture

ASKED = {"photo": Path("a.png"), "steps": 6, "layers": ("relu1_1", "relu2_1"), "size": None}


def moment(step: int, value: float = 0.5, scale: int = 0, **parts: float) -> Moment:
    """A step of a picture [4, 6, 3] that is `value` everywhere."""
    best = torch.full((1, 3, 4, 6), value)
    memory = Memory({"gradient": -best}, {"length": 0.25})
    figures = parts or {"style": 2.0, "tv": 0.5}
    return Moment(scale, (4, 6), step, 6, figures, best, lambda b: b[0].permute(1, 2, 0), memory)


def level(path: Path) -> float:
    """The one grey of a picture."""
    values = image.read(path).unique()
    assert len(values) == 1
    return float(values)


def only(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_previews_and_states_come_every_few_steps(tmp_path):
    job = Job(ASKED, tmp_path / "made.jpg", preview_every=2)
    job.watch(moment(1, 0.2))
    assert only(tmp_path) == set()
    job.watch(moment(2, 0.4))
    assert only(tmp_path) == {"made.preview.png", "made.resume.safetensors"}
    assert job.preview_path == tmp_path / "made.preview.png"
    assert job.state_path == state_path(tmp_path / "made.jpg") == tmp_path / "made.resume.safetensors"
    job.watch(moment(3, 0.6))
    assert level(job.preview_path) == pytest.approx(0.4, abs=2e-3)
    job.watch(moment(4, 0.8))
    assert level(job.preview_path) == pytest.approx(0.8, abs=2e-3)
    tensors, notes = load_tensors(job.state_path, "")
    assert torch.equal(tensors["best"], torch.full((1, 3, 4, 6), 0.8))
    assert (notes["scale"], notes["step"], len(notes["rows"])) == (0, 4, 4)


def test_no_previews_and_no_pictures_on_the_way_where_none_are_wanted(tmp_path):
    job = Job(ASKED, tmp_path / "made.png", preview_every=0)
    for step in range(1, 7):
        job.watch(moment(step))
    assert only(tmp_path) == set()


def test_pictures_on_the_way_are_kept(tmp_path):
    job = Job(ASKED, tmp_path / "made.png", preview_every=0, save_every=3)
    for step in range(1, 7):
        job.watch(moment(step, step / 10))
    job.finish(torch.full((4, 6, 3), 1.0))
    job.forget()
    assert only(tmp_path) == {"made.png", "made-6x4-0003.png", "made-6x4-0006.png"}
    assert level(tmp_path / "made-6x4-0003.png") == pytest.approx(0.3, abs=2e-3)
    assert level(tmp_path / "made-6x4-0006.png") == pytest.approx(0.6, abs=2e-3)


def test_a_finished_job_leaves_the_picture_and_the_trace(tmp_path):
    job = Job(ASKED, tmp_path / "made.png", preview_every=1, trace=tmp_path / "trace.csv")
    job.watch(moment(1))
    job.finish(torch.full((4, 6, 3), 1.0))
    assert only(tmp_path) == {"made.png", "made.resume.safetensors", "trace.csv"}
    job.forget()
    assert only(tmp_path) == {"made.png", "trace.csv"}
    assert level(tmp_path / "made.png") == 1
    job.forget()  # nothing more to forget


def test_the_trace_has_a_row_for_every_step(tmp_path):
    job = Job(ASKED, tmp_path / "made.png", trace=tmp_path / "deep" / "trace.csv")
    job.watch(moment(1, style=2.0, tv=0.5))
    job.watch(moment(2, style=1.5, tv=0.25))
    job.watch(moment(1, scale=1, style=1.0, content=3.0))  # a term that begins later
    job.finish(torch.ones(4, 6, 3))
    found = rows(tmp_path / "deep" / "trace.csv")
    assert list(found[0]) == ["width", "height", "step", "seconds", "total", "style", "tv", "content"]
    assert [(r["width"], r["height"], r["step"]) for r in found] == [("6", "4", s) for s in "121"]
    assert [float(r["total"]) for r in found] == [2.5, 1.75, 4.0]
    assert [float(r["style"]) for r in found] == [2.0, 1.5, 1.0]
    assert [r["content"] for r in found] == ["", "", "3.0"]
    seconds = [float(r["seconds"]) for r in found]
    assert 0 <= seconds[0] <= seconds[1] <= seconds[2]


def test_ctrl_c_writes_the_best_so_far_and_a_state(tmp_path):
    job = Job(ASKED, tmp_path / "made.png", preview_every=1, trace=tmp_path / "trace.csv")
    job.watch(moment(1, 0.2))
    told = job.stop(Interrupted(moment(1, 0.4)))
    assert str(tmp_path / "made.png") in told
    assert "--resume" in told
    assert level(tmp_path / "made.png") == pytest.approx(0.4, abs=2e-3)
    assert only(tmp_path) == {"made.png", "made.resume.safetensors", "trace.csv"}
    assert len(rows(tmp_path / "trace.csv")) == 1


def test_ctrl_c_before_the_first_step_promises_and_writes_nothing(tmp_path):
    assert Job(ASKED, tmp_path / "made.png").stop(Interrupted(None)) == ""
    assert only(tmp_path) == set()


def test_a_job_goes_on_where_it_was(tmp_path):
    first = Job(ASKED, tmp_path / "made.png", preview_every=2, trace=tmp_path / "trace.csv")
    for step, value in ((1, 0.1), (2, 0.2), (3, 0.3)):  # killed after the third, which is lost
        first.watch(moment(step, value, scale=1))
    second = Job(ASKED, tmp_path / "made.png", preview_every=2, trace=tmp_path / "trace.csv", resume=True)
    assert isinstance(second.go_on, State)
    assert (second.go_on.scale, second.go_on.step) == (1, 2)
    assert torch.equal(second.go_on.best, torch.full((1, 3, 4, 6), 0.2))
    assert torch.equal(second.go_on.memory.tensors["gradient"], torch.full((1, 3, 4, 6), -0.2))
    assert second.go_on.memory.numbers == {"length": 0.25}
    second.watch(moment(3, 0.4, scale=1))
    second.finish(torch.ones(4, 6, 3))
    found = rows(tmp_path / "trace.csv")
    assert [r["step"] for r in found] == ["1", "2", "3"]
    seconds = [float(r["seconds"]) for r in found]
    assert seconds == sorted(seconds)  # the clock goes on as well


def test_a_kept_state_of_a_finished_picture(tmp_path):
    job = Job(ASKED, tmp_path / "made.png", preview_every=0)
    job.keep()
    assert only(tmp_path) == set()
    job.watch(moment(6, 0.6))
    job.finish(torch.full((4, 6, 3), 0.6))
    job.keep()
    assert only(tmp_path) == {"made.png", "made.resume.safetensors"}
    again = Job(ASKED, tmp_path / "made.png", resume=True)
    assert again.go_on.step == 6
    assert again.go_on.memory is None
    assert again.state_path.stat().st_size < 2000  # without what the optimiser remembered
    assert again.rows == job.rows


def test_a_job_only_goes_on_with_what_was_asked(tmp_path):
    Job(ASKED, tmp_path / "made.png", preview_every=1).watch(moment(1))
    assert Job(dict(ASKED), tmp_path / "made.png", resume=True).go_on.step == 1
    for changed, named in (
        ({"steps": 7}, "steps"),
        ({"layers": ("relu1_1",), "photo": Path("b.png")}, "layers, photo"),
        ({"size": 100}, "size"),
        ({"new": 1}, "new"),
    ):
        with pytest.raises(UserError, match=rf"made\.resume\.safetensors was made with another {named}; begin again"):
            Job({**ASKED, **changed}, tmp_path / "made.png", resume=True)
    with pytest.raises(UserError, match="another size;"):
        Job({k: v for k, v in ASKED.items() if k != "size"} | {"size": 1}, tmp_path / "made.png", resume=True)


def test_a_job_without_a_state_cannot_go_on(tmp_path):
    with pytest.raises(UserError, match=r"there is no .*made\.resume\.safetensors; leave out --resume"):
        Job(ASKED, tmp_path / "made.png", resume=True)


def test_a_broken_state_is_refused(tmp_path):
    state = state_path(tmp_path / "made.png")
    Job(ASKED, tmp_path / "made.png", preview_every=1).watch(moment(1))
    whole = state.read_bytes()
    for content in (b"", b"nonsense", whole[:20], whole[:-10]):
        state.write_bytes(content)
        with pytest.raises(UserError, match=r"(cut short|is empty).*; begin again with --restart$") as refusal:
            Job(ASKED, tmp_path / "made.png", resume=True)
        assert "\n" not in str(refusal.value)
    save_tensors(state, {"other": torch.rand(2)})  # someone else's file
    with pytest.raises(UserError, match="missing required field asked; begin again"):
        Job(ASKED, tmp_path / "made.png", resume=True)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"asked": []}, "asked: expected object"),
        ({"step": "2"}, "step: expected int"),
        ({"scale": None}, "scale: expected int"),
        ({"rows": [1]}, r"rows\[0\]: expected object"),
        ({"rows": [{"step": 1}]}, "lacks the best picture, or figures of its steps"),
        ({"search": 3}, "search: expected object"),
        ({"seconds": "long"}, "seconds: expected float"),
    ],
)
def test_a_state_of_other_types_is_refused(tmp_path, notes, message):
    Job(ASKED, tmp_path / "made.png", preview_every=1).watch(moment(1))
    tensors, held = load_tensors(state_path(tmp_path / "made.png"), "")
    save_tensors(state_path(tmp_path / "made.png"), tensors, **{**held, **notes})
    with pytest.raises(UserError, match=message):
        Job(ASKED, tmp_path / "made.png", resume=True)


def test_large_states_are_written_seldom(tmp_path, monkeypatch):
    """Ten seconds for one: the next comes when 200 have passed, and with Ctrl-C."""
    now = [0.0]
    monkeypatch.setattr(job_module.time, "monotonic", lambda: now[0])

    def slowly(*arguments, **notes) -> None:
        now[0] += 10
        save_tensors(*arguments, **notes)

    monkeypatch.setattr(job_module, "save_tensors", slowly)
    job, saved = Job(ASKED, tmp_path / "made.png", preview_every=1), []
    for step in range(1, 7):
        job.watch(moment(step))
        saved.append(load_tensors(job.state_path, "")[1]["step"])
        now[0] += 90
    assert saved == [1, 1, 1, 4, 4, 4]
    job.stop(Interrupted(moment(6)))
    assert load_tensors(job.state_path, "")[1]["step"] == 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder.png", "is a folder"),
        ("file.txt/made.png", "cannot write"),
        ("made.bmp", "must end in .png, .jpg, .jpeg"),
        ("made", "must end in"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path, name, message):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.txt").write_text("kept")
    with pytest.raises(UserError, match=message) as refusal:
        Job(ASKED, tmp_path / name)
    assert str(tmp_path / name) in str(refusal.value)
    with pytest.raises(UserError, match="cannot write"):
        Job(ASKED, tmp_path / "made.png", trace=tmp_path / "file.txt" / "trace.csv")
    with pytest.raises(UserError, match="is a folder"):
        Job(ASKED, tmp_path / "made.png", trace=tmp_path)
    assert only(tmp_path) == {"folder.png", "file.txt"}
    assert (tmp_path / "file.txt").read_text() == "kept"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_refused_at_once(tmp_path):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o500)
    with pytest.raises(UserError, match="Permission denied; choose a folder that you may write to"):
        Job(ASKED, tmp_path / "locked" / "made.png")


def test_numbers_of_steps_below_0_are_refused(tmp_path):
    for given in ({"preview_every": -1}, {"save_every": -5}):
        with pytest.raises(UserError, match="preview_every and save_every are numbers of steps"):
            Job(ASKED, tmp_path / "made.png", **given)


FEW = {"encoder": "compact", "device": "cpu", "steps": 6}
METHODS = {
    "gatys": lambda **o: gatys(
        photo(96, 128), [photo(40, 40)], settings=GatysSettings(**FEW, scales=2, history=3, start="noise"), **o
    ),
    "gatys by adam": lambda **o: gatys(
        photo(96, 128), [photo(40, 40)], settings=GatysSettings(**FEW, scales=2, optimizer="adam"), **o
    ),
    "texture": lambda **o: texture(photo(96, 128), TextureSettings(**FEW, scales=2, layers=("relu2_1",)), **o),
    "invert": lambda **o: invert(photo(), "relu2_1", InvertSettings(**{**FEW, "steps": 12}), **o),
    "dream": lambda **o: dream(photo(96, 128), DreamSettings(**FEW, octaves=2), **o),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop_at", [3, 6, 10])
def test_a_stopped_job_goes_on_to_the_same_picture(tmp_path, method, stop_at):
    """Byte for byte, the trace included: what the optimiser remembers is in the state, and on the disk in between."""

    def attempt(name: str, stop_at: int | None = None, resume: bool = False) -> None:
        job = Job(ASKED, tmp_path / f"{name}.png", 0, trace=tmp_path / f"{name}.csv", resume=resume)

        def watch(moment: Moment) -> None:
            job.watch(moment)
            if len(job.rows) == stop_at:
                raise KeyboardInterrupt

        try:
            job.finish(METHODS[method](watch=watch, go_on=job.go_on))
        except Interrupted as stopped:
            job.stop(stopped)

    attempt("whole")
    attempt("parts", stop_at)
    assert (len(rows(tmp_path / "whole.csv")), len(rows(tmp_path / "parts.csv"))) == (12, stop_at)
    attempt("parts", stop_at + 1, resume=True)  # and once more
    attempt("parts", resume=True)
    assert (tmp_path / "parts.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    table, other = ([{**r, "seconds": ""} for r in rows(tmp_path / f"{name}.csv")] for name in ("whole", "parts"))
    assert table == other


@pytest.mark.parametrize("method", METHODS)
def test_a_state_that_is_not_of_this_job_is_refused(method):
    moments: list[Moment] = []
    METHODS[method](watch=moments.append)
    m = moments[2]
    good = State(m.scale, m.step, m.best, m.memory, "here", "do this")
    tensors, numbers = m.memory.tensors, m.memory.numbers
    name = next(iter(tensors))
    wrong = [
        (replace(good, step=13), r"here is at step 13 of size 0, of which there is none; do this"),
        (replace(good, step=-1), "at step -1"),
        (replace(good, step=10**18), "of which there is none"),
        (replace(good, scale=7), "of size 7"),
        (replace(good, best=m.best[..., :-1]), "here: best has shape"),
        (replace(good, best=m.best * torch.nan), "here: best holds numbers that are not finite"),
        (replace(good, memory=Memory({}, numbers)), "here lacks tensor '.*'; do this"),
        (replace(good, memory=Memory({**tensors, "x": m.best}, numbers)), "unknown tensor 'x'"),
        (replace(good, memory=Memory({**tensors, name: torch.zeros(3)}, numbers)), rf"here: {name} has shape \[3\]"),
        (replace(good, memory=Memory(tensors, {})), "missing required field"),
        (replace(good, memory=Memory(tensors, dict.fromkeys(numbers, "x"))), "expected"),
    ]
    if "products" in numbers:
        spoiled = {**numbers, "products": [-p for p in numbers["products"]]}
        wrong.append((replace(good, memory=Memory(tensors, spoiled)), "not those of an L-BFGS"))
    else:
        wrong.append((replace(good, memory=Memory(tensors, {"left": 1.0})), "which is no share"))
    for state, message in wrong:
        with pytest.raises(UserError, match=message):
            METHODS[method](go_on=state)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_every_method_goes_on_from_a_state_as_it_was_read(device, monkeypatch):
    """States are read into the host's memory, wherever the job computes."""
    monkeypatch.setitem(FEW, "device", device)
    for method in METHODS.values():
        moments: list[Moment] = []
        method(watch=moments.append)
        m = moments[2]
        memory = Memory({name: tensor.cpu() for name, tensor in m.memory.tensors.items()}, m.memory.numbers)
        found = method(go_on=State(m.scale, m.step, m.best.cpu(), memory))
        assert found.device.type == device
