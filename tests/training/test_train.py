from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from folders import folders, small

from arf.errors import UserError
from arf.jobs.door import settings_from
from arf.jobs.runs import Curves, Run
from arf.jobs.tensors import load_tensors
from arf.media import image
from arf.networks import modelfile
from arf.style import encoder as encoders
from arf.training.fast import style_grams
from arf.training.loop import Loop
from arf.training.settings import TrainSettings, going_on
from arf.training.train import record_of, train


class Killed(BaseException):
    """What a kill is to the code."""


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_tensors(run.path / "model.safetensors", "")[0]


def equal(one: Run, other: Run, tolerance: float = 0.0) -> bool:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return all((first[k].float() - second[k].float()).abs().max() <= tolerance for k in first)


def begin(tmp_path, method="fast", progress=None, **options) -> Run:
    photos, paintings = folders(tmp_path)
    style = paintings if method in ("many", "cast") else paintings / "p4.png"
    return train(method, photos, (style,), small(method, **options), tmp_path / "runs", progress=progress)


def again(tmp_path, stopped: Run) -> Run:
    """A run of `begin` gone on with."""
    photos, settings = tmp_path / "photos", settings_from(TrainSettings, stopped.info["settings"], "run")
    style = tuple(Path(path) for path in stopped.info["asked"]["style"])
    return train(stopped.info["method"], photos, style, settings, resume=stopped)


def stop_at(step):
    def progress(phase, now, steps, figures):
        if now == step:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("method", ["adain", "fast", "many"])
def test_training_learns_and_writes_what_it_promises(tmp_path, method):
    seen, rarely = [], {"save_every": 100, "sample_every": 100}
    run = begin(tmp_path, method, lambda *figures: seen.append(figures), steps=20, learning_rate=3e-3, **rarely)
    assert [(phase, step, steps) for phase, step, steps, _ in seen] == [("training", s, 20) for s in (10, 20)]
    curves = run.curves()
    assert [row["step"] for row in curves] == [10, 20]
    assert curves[1]["style"] < curves[0]["style"]
    assert {p.name for p in run.path.iterdir() if "tfevents" not in p.name} == {
        "arf.json", "losses.csv", "losses.png", "model.safetensors", "preview.png",
    }  # fmt: skip
    opened = modelfile.open_adain(run.path) if method == "adain" else modelfile.open_fast(run.path)
    assert method == "adain" or opened.names == (["p4"] if method == "fast" else ["p4", "p5"])
    assert Run.open(run.path, "training").info["metrics"]["skipped"] == 0


@pytest.mark.parametrize("method", ["adain", "fast", "many", "cast"])
def test_a_killed_training_goes_on_to_the_same_network(tmp_path, method):
    options = {"batch": 2, "precision": "half" if method == "fast" else "full"}
    if method == "fast":
        options["norm"] = "batch"  # which has running statistics
    whole = begin(tmp_path, method, **options)
    photos, paintings = folders(tmp_path)
    style = (paintings if method in ("many", "cast") else paintings / "p4.png",)

    save = Loop.save

    def save_and_die(loop):
        save(loop)
        if loop.step == 4:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "save", save_and_die)
        with pytest.raises(Killed):
            train(method, photos, style, small(method, **options), tmp_path / "killed")
    killed = Run.open(tmp_path / "killed", "training", finished=False)
    assert not killed.info["finished"]
    resumed = train(method, photos, style, small(method, **options), resume=killed)
    assert equal(whole, resumed)
    assert [row["step"] for row in resumed.curves()] == [row["step"] for row in whole.curves()]
    assert not resumed.has("resume")


def test_ctrl_c_saves(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, progress=stop_at(10), steps=12)
    run = Run.open(tmp_path / "runs", "training", finished=False)
    assert run.load("resume")[1]["step"] == 10
    modelfile.open_fast(run.path)


@pytest.mark.parametrize("method", ["fast", "cast"])
def test_ctrl_c_waits_for_the_end_of_a_step(tmp_path, method, monkeypatch):
    options = {"norm": "batch"} if method == "fast" else {}
    whole = begin(tmp_path / "whole", method, **options)
    learn = Loop._learn

    def interrupted(loop, phase, *more):
        figures = learn(loop, phase, *more)
        if loop.step == 3 and phase is loop.trainee.phases[0]:  # an update is done, the step is not
            os.kill(os.getpid(), signal.SIGINT)
        return figures

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_learn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            begin(tmp_path, method, **options)
    stopped = Run.open(tmp_path / "runs", "training", finished=False)
    assert stopped.load("resume")[1]["step"] == 4
    assert equal(whole, again(tmp_path, stopped))


def test_what_fails_after_the_last_step_is_gone_on_with(tmp_path, monkeypatch):
    whole = begin(tmp_path / "whole", save_every=100)
    with monkeypatch.context() as patch:
        patch.setattr(Curves, "draw", lambda curves: (_ for _ in ()).throw(OSError("disk")))
        with pytest.raises(OSError, match="disk"):
            begin(tmp_path, save_every=100)
    assert equal(whole, again(tmp_path, Run.open(tmp_path / "runs", "training", finished=False)))


def test_other_pictures_are_not_gone_on_with(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, progress=stop_at(4))
    stopped = Run.open(tmp_path / "runs", "training", finished=False)
    os.rename(tmp_path / "photos" / "p2.png", tmp_path / "photos" / "q.png")
    with pytest.raises(UserError, match=r"cannot go on: the photographs are not those that .* began with"):
        again(tmp_path, stopped)
    os.rename(tmp_path / "photos" / "q.png", tmp_path / "photos" / "p2.png")
    assert again(tmp_path, stopped).info["finished"]


def test_broken_files_are_skipped_and_counted(tmp_path, caplog):
    photos, paintings = folders(tmp_path)
    (photos / "p1.png").write_bytes(b"no picture")
    run = train("fast", photos, (paintings / "p4.png",), small(), tmp_path / "runs")
    assert run.info["skipped"] == [str(photos / "p1.png")]
    assert run.info["metrics"]["skipped"] == 1
    assert caplog.text.count("p1.png cannot be read as a picture") == 1


def test_a_new_style_leaves_the_others_as_they_are(tmp_path):
    old = begin(tmp_path, "many")
    photos, _ = folders(tmp_path)
    os.rename(tmp_path / "paintings" / "p4.png", tmp_path / "new.png")
    new = train("many", photos, (tmp_path / "new.png",), small(), tmp_path / "more", init=old.path)
    before, after = modelfile.open_fast(old.path), modelfile.open_fast(new.path)
    assert after.names == ["p4", "p5", "new"]
    x = torch.rand(1, 3, 32, 32)
    for name in before.names:
        assert torch.equal(before(x, before.mix({name: 1})), after(x, after.mix({name: 1})))
    mean = before(x, before.mix({"p4": 1, "p5": 1}))
    assert not torch.allclose(after(x, after.mix({"new": 1})), mean, atol=1e-3)
    with pytest.raises(UserError, match="has a style 'new' already; name new styles alone"):
        train("many", photos, (tmp_path / "new.png",), small(), tmp_path / "more", init=new.path)


def test_many_styles_are_trained_further(tmp_path):
    old = begin(tmp_path, "many")
    photos, paintings = folders(tmp_path)
    other_order = paintings / "p5.png", paintings / "p4.png"
    still = train("many", photos, other_order, small(steps=1, learning_rate=1e-9), tmp_path / "more", init=old.path)
    assert modelfile.open_fast(still.path).names == ["p4", "p5"]
    assert equal(old, still, 1e-4)
    further = train("many", photos, other_order, small(steps=2), tmp_path / "more", init=old.path)
    before, after = weights(old), weights(further)
    assert all(not torch.equal(before[name], after[name]) for name in before)  # the convolutions too


def test_training_further_begins_with_the_model(tmp_path):
    old = begin(tmp_path, "fast")
    photos, paintings = folders(tmp_path)
    settings = small(steps=1, learning_rate=1e-9)
    further = train("fast", photos, (paintings / "p5.png",), settings, tmp_path / "more", init=old.path)
    assert equal(old, further, 1e-4)
    assert modelfile.open_fast(further.path).names == ["p5"]
    with pytest.raises(UserError, match="is a model of arf train fast; arf train many cannot begin with it"):
        train("many", photos, (paintings,), settings, tmp_path / "more", init=old.path)
    wider = small(width=8)
    with pytest.raises(UserError, match="width is 8, and that of --init is 4; leave out --width"):
        train("fast", photos, (paintings / "p5.png",), wider, tmp_path / "more", init=old.path)
    decoder = tmp_path / "decoder.pth"
    decoder.write_bytes(b"x")
    for method in ("adain", "cast"):
        with pytest.raises(UserError, match=r"decoder\.pth is (a published decoder|no model of arf)"):
            train(method, photos, (paintings,), small(method), tmp_path / "more", init=decoder)


@pytest.mark.parametrize("method", ["many", "cast"])
def test_two_processes_train_what_one_does(tmp_path, method):
    photos, paintings = folders(tmp_path)
    options = {"steps": 3, "batch": 4, "crop": 32, "load": 48, "width": 4, "workers": 0, "learning_rate": 1e-3}
    options |= {"style_size": 48} if method == "many" else {}
    one = train(method, photos, (paintings,), small(method, **options), tmp_path / "one")
    other = train(method, photos, (paintings,), small(method, **options, seed=1), tmp_path / "other")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "arf"]
    command += ["train", method, "--content", photos, "--style", paintings, "--output", tmp_path / "two"]
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    done = subprocess.run(
        [str(word) for word in (*command, *flags, "--device", "cpu", "--json")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(said) == 1  # by rank 0 alone
    two = Run.open(json.loads(said[0])["run"], "training")
    assert len(list((tmp_path / "two").glob("*/*/*"))) == 1
    first, second, third = (torch.cat([t.float().flatten() for t in weights(r).values()]) for r in (one, two, other))
    assert (first - second).abs().quantile(0.99) < 1e-4  # where a gradient is almost 0, rounding decides Adam's step
    assert (first - third).abs().quantile(0.5) > 1e-3


@pytest.mark.parametrize(("good", "message"), [(0, "2; lower"), (2, "4; the last good state is in .*; lower")])
def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, monkeypatch, good, message):
    from arf.training import fast

    seen = []

    def poisoned(a, b):
        seen.append(1)
        return (a - b).square().mean() * (1 if len(seen) <= good else float("nan"))

    monkeypatch.setattr(fast, "content_loss", poisoned)
    with pytest.raises(UserError, match=rf"the loss \(content\) became nan at step {message} --learning-rate"):
        begin(tmp_path)


def test_ctrl_c_after_numbers_are_lost_keeps_the_last_good_state(tmp_path, monkeypatch):
    """Losses are looked at every ten steps only."""
    update = Loop._update

    def lost(loop, *more):
        update(loop, *more)
        if loop.step == 3:
            next(iter(loop.trainee.network.parameters())).data[:] = torch.nan
            raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "_update", lost)
    with pytest.raises(UserError, match=r"step 3: network/.* not finite; the last good state is in .*; lower --learn"):
        begin(tmp_path)
    assert Run.open(tmp_path / "runs", "training", finished=False).load("resume")[1]["step"] == 2


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Run:
    """A training that Ctrl-C has stopped at step 4."""
    folder = tmp_path_factory.mktemp("stopped")
    update = Loop._update

    def stop(loop, *more):
        update(loop, *more)
        if loop.step == 4:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_update", stop)
        with pytest.raises(KeyboardInterrupt):
            begin(folder)
    return Run.open(folder / "runs", "training", finished=False)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"step": 10**9}, "is of another training: step 1000000000 of 6"),
        ({"step": -1}, "step -1 of 6"),
        ({"step": "4"}, "step: expected int, got str"),
        ({"curves": [{"step": 1}, {"loss": 1.0}]}, "its curves are no table of steps"),
        ({"curves": 5}, "curves: expected array"),
        ({"scalers": []}, "is of another training"),
        ({"skipped": [1]}, r"skipped\[0\]: expected str"),
    ],
)
def test_states_that_are_not_of_this_training_are_refused(stopped, tmp_path, notes, message):
    tensors, held = stopped.load("resume")
    spoiled = Run(tmp_path, stopped.info)
    spoiled.save("resume", tensors, **{**held, **notes})
    with pytest.raises(UserError, match=message):
        again(stopped.path.parents[3], spoiled)


@pytest.mark.parametrize("damage", ["another shape", "no moments", "unknown", "not finite"])
def test_tensors_that_are_not_of_this_training_are_refused(stopped, tmp_path, damage):
    tensors, held = stopped.load("resume")
    name = "network/down.0.convolution.conv.weight"
    if damage == "another shape":
        tensors[name] = tensors[name][:2]
    elif damage == "no moments":
        tensors = {name: t for name, t in tensors.items() if not name.startswith("optimizer")}
    elif damage == "unknown":
        tensors["more"] = torch.zeros(1)
    else:
        tensors[name] = tensors[name] * torch.inf
    spoiled = Run(tmp_path, stopped.info)
    spoiled.save("resume", tensors, **held)
    with pytest.raises(UserError, match="make the run again"):
        again(stopped.path.parents[3], spoiled)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"asked": None}, "asked: expected object"),
        ({"asked": {"method": "soup", "content": "a", "style": ["b"], "init": None}}, "asked.method: invalid enum"),
        ({"asked": {"method": "fast", "content": 5, "style": ["b"], "init": None}}, "asked.content: expected"),
        ({"settings": {"steps": "many"}}, "settings.steps: expected int"),
        ({"settings": {"zzz": 1}}, "there is no setting 'zzz'"),
        ({"drawn": []}, "drawn: expected object"),
    ],
)
def test_what_a_run_says_of_its_training_is_checked(stopped, info, message):
    with pytest.raises(UserError, match=message):
        record_of(Run(stopped.path, {**stopped.info, **info}))


def test_a_run_of_an_older_arf_had_another_name_for_the_strength_of_the_style(stopped):
    settings = dict(stopped.info["settings"])
    settings["style_weight"] = settings.pop("style_strength") + 2
    record = record_of(Run(stopped.path, {**stopped.info, "settings": settings}))
    assert record.settings.style_strength == stopped.info["settings"]["style_strength"] + 2


def test_settings_of_other_kinds_are_refused():
    """J20."""
    with pytest.raises(UserError, match="TrainSettings: norm: invalid enum value 'layer'; it is one of"):
        TrainSettings(norm="layer").check("fast")


def test_a_strip_may_be_the_style(tmp_path):
    """J13: at 48 pixels it would be a line, of which the layers see nothing."""
    image.write(tmp_path / "strip.png", torch.rand(20, 1000, 3, generator=torch.Generator().manual_seed(0)))
    grams = style_grams(encoders.load("compact", padding="reflect"), tmp_path / "strip.png", small(style_size=48))
    assert all(bool(gram.isfinite().all()) for gram in grams.values())


def test_only_what_does_not_change_the_network_may_change_on_the_way():
    begun = small()
    assert going_on(begun, TrainSettings()) == begun
    assert going_on(begun, TrainSettings(workers=1, save_every=7, steps=6)) == replace(begun, workers=1, save_every=7)
    with pytest.raises(UserError, match="--learning-rate cannot change with --resume; leave it out"):
        going_on(begun, TrainSettings(learning_rate=0.5, workers=1))


def test_bad_input_is_refused_in_one_line(tmp_path):
    photos, paintings = folders(tmp_path)
    one, empty = paintings / "p4.png", tmp_path / "empty"
    empty.mkdir()
    for method, content, style, options, message in (
        ("fast", empty, (one,), {}, "holds no picture"),
        ("fast", tmp_path / "nowhere", (one,), {}, "no folder at .*nowhere"),
        ("fast", one, (one,), {}, "no folder at"),
        ("fast", photos, (), {}, "no style: give --style"),
        ("fast", photos, (tmp_path / "no.jpg",), {}, r"no picture or folder at .*no\.jpg"),
        ("cast", photos, (paintings,), {"crop": 100, "load": 100}, "crop is 100; cast needs a multiple of 8"),
        ("adain", photos, (paintings,), {"tv_weight": 1.0}, "--tv-weight has no use with adain"),
        ("many", photos, (paintings,), {"adversarial_weight": 1.0}, "--adversarial-weight has no use with many"),
        ("fast", photos, (empty,), {}, "holds no picture"),
        ("fast", photos, (paintings,), {}, "2 style pictures; a fast network has one"),
        ("many", photos, (one, one), {}, "two style pictures have one name"),
        ("adain", photos, (paintings,), {"steps": 0}, "steps is 0"),
        ("adain", photos, (paintings,), {"load": 16}, "load is 16; it must be between 32"),
        ("many", photos, (paintings,), {"norm": "batch"}, "many styles need --norm instance"),
    ):
        with pytest.raises(UserError, match=message):
            train(method, content, style, small(method, **options), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
