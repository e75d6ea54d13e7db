"""What stopped jobs go on from: each with its state, and what goes on from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from folders import folders, small
from gaussians import random_splats
from good import Good
from tiny import STYLIZE

from arf.jobs.runs import Run
from arf.jobs.tensors import load_tensors
from arf.media import image
from arf.media.footage import probe
from arf.networks.video.film import Reel, film, parts_folder
from arf.networks.video.settings import VideoSettings
from arf.radiance.fields import kinds
from arf.radiance.fields.place import Place
from arf.radiance.fit.splats.state import SplatState
from arf.radiance.fit.state import FitState
from arf.radiance.opening import open_photoreal, open_run
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.subject import Subject
from arf.radiance.settings import FitSettings, SplatSettings
from arf.style import encoder as encoders
from arf.training.fast import FastTrainee
from arf.training.loop import Loop
from arf.training.processes import Team
from arf.training.train import train
from arf.transfer.engine.job import Job, state_path
from arf.transfer.engine.optimize import Interrupted
from arf.transfer.invert import invert
from arf.transfer.settings import InvertSettings

CPU = torch.device("cpu")
State = tuple[Path, Callable[[], object]]
STATE = "resume.safetensors"


def stop_at(when: int) -> Callable[..., None]:
    def progress(_: str, step: int, *__: object) -> None:
        if step == when:
            raise KeyboardInterrupt

    return progress


def fit(good: Good, at: Path) -> State:
    shutil.copytree(good.fit, at, dirs_exist_ok=True)
    opened = Run.open(at)
    settings = FitSettings(backbone="voxel", steps=20, resolutions=(12,), stages=()).for_kind("bounded")
    field, _ = open_photoreal(opened, CPU)
    FitState(field, settings).save(opened)
    return at / STATE, lambda: FitState(field, settings).load(opened)


def fit_of_splats(good: Good, at: Path) -> State:
    shutil.copytree(good.fit, at, dirs_exist_ok=True)
    opened, settings = Run.open(at), FitSettings(backbone="splat", steps=20, splats=60).for_kind("bounded")
    _, capture = open_photoreal(opened, CPU)
    place = Place.of(capture)

    def state() -> SplatState:
        return SplatState(kinds.build(kinds.plan(settings, place), place, CPU), settings, capture.train, place)

    begun = state()
    begun.begin_with(random_splats(50))
    begun.advance()  # so that there is what Adam remembers
    begun.save(opened)
    return at / STATE, lambda: state().load(opened)


def painting(good: Good, at: Path) -> State:
    return _painting(Run.open(good.fit), good, at)


def painting_of_splats(good: Good, at: Path) -> State:
    return _painting(open_run(good.splats, splats=SplatSettings(views=2, view_size=32)), good, at)


def _painting(fitted: Run, good: Good, at: Path) -> State:
    """After two steps, so that there is what Adam remembers."""
    field, capture = open_photoreal(fitted, CPU)
    run = Run.at(at, "a", "arf", kind="stylize")
    encoder = encoders.load("compact")
    subject = Subject(field, capture.train, STYLIZE)
    painter = Painter(subject, [image.read_style(good.style)], encoder, STYLIZE)
    subject.open(ViewCache(1 << 30, at / "cache", CPU))
    painter.begin()
    for _ in range(2):
        painter.advance()
    painter.save(run)
    return run.path / STATE, lambda: painter.load(run)


def training(good: Good, at: Path) -> State:
    photos, paintings = folders(at)
    style, settings = paintings / "p4.png", small("fast")
    with suppress(KeyboardInterrupt):
        train("fast", photos, (style,), settings, at / "runs", progress=stop_at(2))
    run = Run.open(at / "runs", "training", finished=False)
    trainee = FastTrainee(sorted(photos.iterdir()), [style], settings.for_method("fast"), CPU)
    return run.path / STATE, lambda: Loop(trainee, settings, run, Team(0, 1, CPU))


def picture(good: Good, at: Path) -> State:
    """Gone on with for its last step."""
    photo = image.fit_long_side(image.read_style(good.photo), 16)
    settings, output = InvertSettings(steps=3, device="cpu"), at / "o.png"
    job = Job({}, output)

    def watch(moment) -> None:
        job.watch(moment)
        if moment.step == 2:
            raise KeyboardInterrupt

    try:
        invert(photo, "relu1_1", settings, watch)
    except Interrupted as stopped:
        job.stop(stopped)
    return state_path(output), lambda: invert(photo, "relu1_1", settings, go_on=Job({}, output, resume=True).go_on)


def video(good: Good, at: Path) -> State:
    settings, output = VideoSettings(smooth=True, save_every=2, batch=1), at / "o.mp4"
    with suppress(KeyboardInterrupt):
        film(good.video, output, lambda frames: frames, settings, stop_at(3))
    state, size = parts_folder(output) / "state.safetensors", probe(good.video).fitted(settings.size)
    asked = load_tensors(state, "")[1]["asked"]
    return state, lambda: Reel(output, asked, settings, size, resume=True)
