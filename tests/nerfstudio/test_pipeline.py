"""`ns-train arf`: stage 2 in nerfstudio's own trainer."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from encoders import tiny_encoder
from nerfstudio.engine.trainer import Trainer
from nerfstudio.scripts.train import main
from nerfstudio.utils import writer
from nerfstudio.utils.eval_utils import eval_setup
from stock import train_stock
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import STYLIZE
from tools import give_ffmpeg, ns_eval, ns_export, ns_render, ns_viewer
from viewer_client import SIZE, Client, close, free_port, shown, stop_viewer, until

from arf.jobs.runs import Run
from arf.nerfstudio.methods import arf_stylized
from arf.nerfstudio.pipeline import ArfPipeline, PaintSettings
from arf.nerfstudio.trainer import ArfTrainerConfig
from arf.radiance.capture.cameras import Camera
from arf.radiance.looks.painted import Painted, picture
from arf.radiance.opening import open_painted, open_photoreal, open_run
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.stylize import stylize
from arf.radiance.paint.subject import Subject

CPU = torch.device("cpu")
PAINT = PaintSettings(**{**dataclasses.asdict(STYLIZE), "save_every": 100, "device": "auto"})
TAGS = {name: f"Train Loss Dict/{name}" for name in ("nnfm", "content", "tv")}


def config(fitted: Run, styles: list[Path], output: Path, **changes) -> ArfTrainerConfig:
    """What the command line makes of `ns-train arf --pipeline.run … --pipeline.style …` and a few flags."""
    made = copy.deepcopy(arf_stylized.config)
    made.pipeline.run, made.pipeline.style, made.pipeline.paint = fitted.path, tuple(styles), copy.deepcopy(PAINT)
    made.output_dir, made.vis, made.machine.device_type = output, "tensorboard", "cpu"
    made.steps_per_save, made.steps_per_eval_image, made.timestamp = 10, 20, "now"
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.fixture(autouse=True)
def own_writers():
    """nerfstudio keeps its writers in a global list; each trainer here gets its own."""
    yield
    writer.EVENT_WRITERS.clear()
    writer.EVENT_STORAGE.clear()


@pytest.fixture(scope="module")
def trained(fitted, paintings, tmp_path_factory) -> Run:
    """The tiny room repainted by nerfstudio's trainer, as `stylized` is by ours. Read only."""
    output = tmp_path_factory.mktemp("ns")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        main(config(fitted, paintings[:1], output))
    for one in writer.EVENT_WRITERS:
        if isinstance(one, writer.TensorboardWriter):
            one.tb_writer.flush()
    writer.EVENT_WRITERS.clear()
    return Run.open(output / "room" / "arf" / "now", "stylize")


def test_it_repaints_as_arf_stylize_does(trained, stylized):
    assert_same_model(stylized, trained)


def trained_briefly(fitted: Run, paintings: list[Path], output: Path, **paint: object) -> Run:
    made = config(fitted, paintings, output)
    made.pipeline.paint = dataclasses.replace(made.pipeline.paint, steps=3, **paint)
    main(made)
    return Run.open(output, "stylize")


def assert_same_model(a: Run, b: Run) -> None:
    ours, theirs = a.load("model")[0], b.load("model")[0]
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    "paint",
    [{"preserve_color": True}, {"style_weights": (1.0, 3.0), "loss": "gram"}],
    ids=["preserve color", "two styles"],
)
def test_all_settings_of_arf_stylize_are_known(paint, fitted, paintings, tmp_path):
    styles = paintings if "style_weights" in paint else paintings[:1]
    ours = stylize(fitted, styles, dataclasses.replace(STYLIZE, steps=3, **paint), tmp_path / "ours")
    assert_same_model(ours, trained_briefly(fitted, styles, tmp_path / "theirs", **paint))


def painting_of(painted: Painted, camera: Camera) -> torch.Tensor:
    """The painting [h, w, 3] as our own commands show it."""
    return picture(painted.field, painted.look, camera, drop=painted.drop)[..., 3:]


@pytest.mark.parametrize("no_cache", [False, True])
def test_a_run_of_plain_ns_train_nerfacto_is_repainted_too(no_cache, paintings, tmp_path):
    stock = open_run(train_stock(tmp_path)[0])
    options = {"color_resolution": 16, "no_cache": no_cache}
    ours = stylize(stock, paintings[:1], dataclasses.replace(STYLIZE, steps=3, **options), tmp_path / "ours")
    theirs = trained_briefly(stock, paintings[:1], tmp_path / "theirs", **options)
    assert_same_model(ours, theirs)
    assert theirs.info["fit"] == ours.info["fit"]
    pipeline = eval_setup(theirs.path / "config.yml")[1]
    painted, capture = open_painted(theirs, CPU)
    camera = pipeline.datamanager.train_dataset.cameras[0:1]
    found = pipeline.model.get_outputs_for_camera(camera)["rgb"]
    torch.testing.assert_close(found, painting_of(painted, capture.train.cameras[0]), rtol=0, atol=1e-4)


def test_the_run_says_what_arf_stylize_says(trained, stylized):
    for name in ("kind", "method", "scene", "styles", "fit", "model", "steps"):
        assert trained.info[name] == stylized.info[name], name
    assert {**trained.info["settings"], "save_every": 0} == {**stylized.info["settings"], "save_every": 0}
    assert trained.info["metrics"]["columns"] == stylized.info["metrics"]["columns"]
    files = {path.name for path in trained.path.iterdir()}
    assert files >= {"arf.json", "model.safetensors", "preview.png", "config.yml", "dataparser_transforms.json"}
    assert not {"cache", "resume.safetensors"} & files
    assert (trained.path / "preview.png").read_bytes() == (stylized.path / "preview.png").read_bytes()


def test_colours_moved_and_only_colours(trained, fitted):
    painted, capture = open_painted(trained, CPU)
    field, _ = open_photoreal(fitted, CPU)
    before, after = picture(painted.field, painted.look, capture.held_out.cameras[0], drop=painted.drop).split(3, 2)
    assert float((after - before).abs().mean()) > 0.05
    for name, tensor in field.state_dict().items():
        assert torch.equal(painted.field.state_dict()[name], tensor), name


def test_the_last_checkpoint_holds_the_final_colours_in_tensors_and_plain_numbers(trained):
    (file,) = (trained.path / "nerfstudio_models").iterdir()
    assert file.name == "step-000000029.ckpt"
    state = torch.load(file, weights_only=True)  # refuses anything else
    for name, tensor in trained.load("model")[0].items():
        theirs = name.replace("field.", "scene.", 1) if name.startswith("field.") else name.replace("look.", "colors.")
        assert torch.equal(state["pipeline"][f"_model.{theirs}"], tensor), name
    assert state["schedulers"]["colors"]["_last_lr"] == [pytest.approx(0.1 * PAINT.learning_rate)]


def test_tensorboard_has_losses_rate_and_pictures(trained):
    events = EventAccumulator(str(trained.path))
    events.Reload()
    for name, tag in TAGS.items():
        assert [event.step for event in events.Scalars(tag)] == [0, 10, 20], name
    loss = [event.value for event in events.Scalars(TAGS["nnfm"])]
    assert loss[-1] < loss[0]
    rate = [event.value for event in events.Scalars("learning_rate/colors")]
    wanted = [PAINT.learning_rate * 0.1 ** ((step + 1) / 30) for step in range(30)]
    assert rate == pytest.approx(wanted, rel=1e-6)
    assert [event.step for event in events.Images("Eval Images/img")] == [20]


def test_nerfstudios_tools_take_the_run(trained, tmp_path, monkeypatch):
    give_ffmpeg(monkeypatch, tmp_path / "bin")
    metrics = ns_eval(trained, tmp_path)
    assert metrics["psnr"] > 14  # of its photoreal side
    frames = ns_render(trained, tmp_path)
    painted, capture = open_painted(trained, CPU)
    for k, frame in enumerate(frames):
        torch.testing.assert_close(frame, painting_of(painted, capture.held_out.cameras[k]), rtol=0, atol=1 / 255)
    assert len(ns_export(trained, tmp_path)[0]) >= 500
    with ns_viewer(trained, monkeypatch) as client:
        client.look(capture.held_out.cameras.poses[0])
        client.picture(lambda p: p.std() > 0.05)
        assert "Style strength" in client.elements


def test_nerfstudio_opens_the_run_without_tracing_or_the_fit(trained, monkeypatch):
    monkeypatch.setattr(Subject, "open", lambda *_: pytest.fail("traced to look at a finished run"))
    monkeypatch.setattr("arf.radiance.opening.open_photoreal", lambda *_: pytest.fail("opened the fit"))
    _, pipeline, checkpoint, step = eval_setup(trained.path / "config.yml")
    assert (checkpoint.parent, step) == (trained.path / "nerfstudio_models", 29)
    painted, capture = open_painted(trained, CPU)
    theirs = pipeline.model.get_outputs_for_camera(pipeline.datamanager.eval_dataset.cameras[0:1])
    wanted = picture(painted.field, painted.look, capture.held_out.cameras[0], drop=painted.drop)
    torch.testing.assert_close(torch.cat([theirs["photoreal"], theirs["rgb"]], 2), wanted, rtol=0, atol=1e-5)


def test_its_config_is_complete(trained, fitted, room):
    made = yaml.load((trained.path / "config.yml").read_text(), Loader=yaml.Loader)
    assert made.get_base_dir() == trained.path
    assert made.max_num_iterations == made.pipeline.paint.steps == 30
    assert made.pipeline.datamanager.dataparser.data == room
    assert made.pipeline.model.field_values["total_steps"] == fitted.info["settings"]["steps"]
    assert made.pipeline.model.drop_weight == PAINT.dropped(0.0025)
    assert arf_stylized.config.pipeline.run is None  # the registered method is as it was


def test_a_killed_job_goes_on_to_the_same_result(fitted, paintings, trained, tmp_path, monkeypatch):
    whole = ArfPipeline._after_step

    def killed(self, step, trainer):
        whole(self, step, trainer)
        if step == 14:
            raise KeyboardInterrupt  # nerfstudio's launcher ends quietly

    monkeypatch.setattr(ArfPipeline, "_after_step", killed)
    main(config(fitted, paintings[:1], tmp_path))
    monkeypatch.setattr(ArfPipeline, "_after_step", whole)
    folder = tmp_path / "room" / "arf" / "now"
    assert [file.name for file in (folder / "nerfstudio_models").iterdir()] == ["step-000000010.ckpt"]
    assert not (folder / "arf.json").exists()
    writer.EVENT_WRITERS.clear()
    main(config(fitted, paintings[:1], tmp_path, timestamp="later", load_dir=folder / "nerfstudio_models"))
    resumed = Run.open(tmp_path / "room" / "arf" / "later", "stylize")
    assert_same_model(trained, resumed)
    assert resumed.info["steps"] == 30


def test_a_finished_checkpoint_is_not_resumed(fitted, paintings, trained, tmp_path, capsys):
    made = config(fitted, paintings[:1], tmp_path, load_dir=trained.path / "nerfstudio_models")
    with pytest.raises(SystemExit) as stop:
        main(made)
    assert stop.value.code == 2
    assert "finished" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["fewer colours", "another grid"])
def test_a_checkpoint_of_other_vertices_is_refused(change, fitted, paintings, trained, tmp_path, capsys):
    shutil.copytree(trained.path / "nerfstudio_models", tmp_path / "models")
    file = tmp_path / "models" / "step-000000029.ckpt"
    state = torch.load(file, weights_only=True)
    if change == "fewer colours":
        state["pipeline"]["_model.colors.theta"] = state["pipeline"]["_model.colors.theta"][1:]
    else:
        state["pipeline"]["_model.scene.voxels.grid.cells"] += 1
    torch.save({**state, "step": 5}, file)
    with pytest.raises(SystemExit) as stop:
        main(config(fitted, paintings[:1], tmp_path, load_dir=tmp_path / "models"))
    assert stop.value.code == 2
    assert "another scene or other settings" in capsys.readouterr().err


def test_colours_that_become_nan_end_the_job_in_one_line(fitted, paintings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Painter, "losses", lambda self, picture, i: {"nnfm": picture.mean() * float("nan")})
    with pytest.raises(SystemExit) as stop:
        main(config(fitted, paintings[:1], tmp_path))
    assert stop.value.code == 2
    assert "learning-rate" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))  # nothing good was there to keep


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"pipeline.run": None}, "--pipeline.run"),
        ({"pipeline.run": Path("nowhere")}, "no run at nowhere"),
        ({"pipeline.style": ()}, "--pipeline.style"),
        ({"pipeline.style": (Path("none.png"),)}, "none.png"),
        ({"pipeline.paint.layers": ("relu9_1",)}, "relu9_1"),
        ({"pipeline.paint.drop_weight": 2.0}, "drop_weight is 2"),
        ({"pipeline.model.strength": 1.5}, "style strength is 1.5; it must lie between 0 and 1"),
        ({"max_num_iterations": 7}, "7 in --max-num-iterations"),
        ({"pipeline.datamanager.data": Path("elsewhere")}, "--data is elsewhere"),
        ({"machine.num_devices": 2}, "one device"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(flags, message, fitted, paintings, tmp_path, capsys):
    made = config(fitted, paintings[:1], tmp_path)
    for name, value in flags.items():
        *path, last = name.split(".")
        owner = made
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, last, value)
    with pytest.raises(SystemExit) as stop:
        made.setup(local_rank=0, world_size=1).setup()
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("arf: ")
    assert message in said
    assert not list(tmp_path.rglob("arf.json"))


def test_steps_come_from_epochs_or_the_trainers_flag(fitted, paintings, tmp_path):
    ways = (None, 2, 0, 18 * 2), (None, None, 0, 18 * 10), (None, 2, 5, 5), (7, 2, 0, 7), (7, None, 7, 7)
    for steps, epochs, iterations, wanted in ways:
        made = config(fitted, paintings[:1], tmp_path, max_num_iterations=iterations)
        made.pipeline.paint = dataclasses.replace(made.pipeline.paint, steps=steps, epochs=epochs)
        trainer = made.setup(local_rank=0, world_size=1)
        assert isinstance(trainer, Trainer)
        assert made.max_num_iterations == made.pipeline.paint.steps == wanted
        assert made.optimizers["colors"]["scheduler"].steps == wanted


@contextmanager
def live(made: ArfTrainerConfig) -> Iterator[tuple[Trainer, Client, threading.Thread]]:
    """A trainer at work in a thread, paused at first, and a client that looks at it through a held-out camera."""
    made.vis, made.start_paused = "viewer+tensorboard", True
    made.viewer.websocket_port, made.viewer.websocket_host = free_port(), "localhost"
    made.viewer.quit_on_train_completion = True
    made.save_config()
    trainer = made.setup(local_rank=0, world_size=1)
    trainer.setup()
    thread = threading.Thread(target=trainer.train)
    thread.start()
    try:
        with Client(made.viewer.websocket_port) as client:
            client.look(pose_of(trainer))
            client.picture(lambda _: True)
            client.set("Max res", SIZE)
            yield trainer, client, thread
    finally:
        trainer.stop_training = True
        thread.join()
        stop_viewer(trainer.viewer_state)


def pose_of(trainer: Trainer) -> torch.Tensor:
    return trainer.pipeline.capture.held_out.cameras.poses[0]


def test_the_viewer_shows_the_painting_while_it_is_painted_and_pauses_it(fitted, paintings, tmp_path):
    made = config(fitted, paintings[:1], tmp_path)
    made.pipeline.paint.steps = 100_000
    with live(made) as (trainer, client, _):

        def colors(after: float = 0.0) -> torch.Tensor:
            time.sleep(after)
            return trainer.pipeline.model.colors.theta.detach().clone()

        first, untouched = client.picture(lambda p: p.shape[0] == SIZE), colors()
        assert torch.equal(colors(after=0.3), untouched)
        client.set("Resume Training", True)
        client.picture(lambda p: p.shape[0] == SIZE and not close(p, first))  # without a move of the camera
        client.set("Pause Training", True)
        until(lambda: trainer.training_state == "paused")
        paused = colors(after=0.3)  # when the step under way is done
        assert torch.equal(colors(after=0.3), paused)
        client.set("Resume Training", True)
        until(lambda: not torch.equal(colors(), paused))
    assert not (trainer.base_dir / "arf.json").exists()  # it was stopped half way


def test_the_viewer_ends_with_the_final_colours(fitted, paintings, tmp_path):
    with live(config(fitted, paintings[:1], tmp_path)) as (trainer, client, thread):
        first = client.picture(lambda p: p.shape[0] == SIZE)
        client.set("Resume Training", True)
        thread.join()
        assert trainer.training_state == "completed"
        painted, _ = open_painted(Run.open(trainer.base_dir), CPU)
        final = shown(painted.field, painted, pose_of(trainer))
        assert not close(first, final)
        client.picture(lambda p: close(p, final))  # without a move of the camera
