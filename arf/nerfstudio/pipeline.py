"""Stage 2 as a nerfstudio pipeline: its trainer has optimizer, checkpoints, TensorBoard and viewer, we have the losses.

`trainer.py` has the configuration of that trainer. What is traced is traced for training only: a run that is opened by
ns-viewer, ns-eval or ns-render is a model and its weights.
"""

from __future__ import annotations

import copy
import logging
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import tyro
from nerfstudio.data.datamanagers.base_datamanager import DataManagerConfig, VanillaDataManagerConfig
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.engine.trainer import Trainer
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.render_state_machine import RenderAction
from nerfstudio.viewer.viewer import Viewer
from torch import Tensor, nn

from arf.errors import UserError
from arf.jobs.files import below, cannot_read
from arf.jobs.runs import Run
from arf.media import image
from arf.nerfstudio.models.stylized import StylizedModelConfig
from arf.radiance.settings import StylizeSettings

if TYPE_CHECKING:  # this file is read by every ns-* command
    from arf.radiance.capture.views import Capture
    from arf.radiance.fields.field import Field
    from arf.radiance.paint.painter import Painter

log = logging.getLogger(__name__)
COLORS = "colors"  # the one group of parameters
CHECK_EVERY = 10  # steps between looks at whether the colours are finite
PAINTING = 0.5  # of a CPU's time, the rest shows it; nerfstudio's 0.9 would show a picture every few minutes


@contextmanager
def plain_errors() -> Iterator[None]:
    """A user's mistake as one line and exit code 2, in a process whose main function is not ours."""
    try:
        yield
    except UserError as error:
        sys.stderr.write(f"arf: {error}\n")
        raise SystemExit(2) from error


@dataclass
class PaintSettings(StylizeSettings):
    """Those of `arf stylize`, less what the trainer decides."""

    device: tyro.conf.Suppress[str] = "auto"
    save_every: tyro.conf.Suppress[int] = 100


@dataclass
class ArfPipelineConfig(VanillaPipelineConfig):
    """What to repaint, in which style, and how."""

    _target: type = field(default_factory=lambda: ArfPipeline)
    run: Path | None = None
    """A run of `arf fit` or `ns-train nerfacto`, or a folder that holds some (the newest is taken)."""
    style: tuple[Path, ...] = ()
    """One or more style pictures."""
    paint: PaintSettings = field(default_factory=PaintSettings)
    """How to paint, as in `arf stylize`."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    datamanager: tyro.conf.Suppress[DataManagerConfig] = field(default_factory=VanillaDataManagerConfig)
    """The run brings its capture."""
    model: StylizedModelConfig = field(default_factory=StylizedModelConfig)
    """How the result is shown."""
    output: tyro.conf.Suppress[Path | None] = None
    """The trainer's folder."""

    def fitted(self) -> Run:
        """The run to repaint, after a look at everything that can be checked without opening it.

        Raises:
            UserError: no run, no style, or settings that make no sense.
        """
        from arf.radiance.opening import open_run
        from arf.radiance.records import fit_record

        if self.run is None:
            raise UserError("repaint what? Name a run of arf fit with --pipeline.run RUN")
        run = open_run(self.run, "fit")
        if not self.style:
            raise UserError("no style picture; name at least one with --pipeline.style PICTURE")
        for path in self.style:
            if refusal := cannot_read(path, "picture"):
                raise refusal
        self.paint.check()
        given = self.datamanager.data
        if given is not None and Path(given).resolve() != fit_record(run).data.resolve():
            raise UserError(f"--data is {given}, but {run.path} brings its own capture: leave --data out")
        return run


class ArfPipeline(VanillaPipeline):
    """Renders one view per step through its operator and hands its losses to the trainer.

    The vertex colours are a parameter of the model, so that viewer and checkpoints see them while they change.
    """

    config: ArfPipelineConfig
    painter: Painter | None = None  # while training
    first = 0  # step of this training, later than 0 when it is resumed
    finished = False

    def __init__(
        self,
        config: ArfPipelineConfig,
        device: str | torch.device,
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        grad_scaler: Any = None,
    ) -> None:
        with plain_errors():
            opened = self._open(config, torch.device(device)) if test_mode == "val" else None
            used = replace(config, datamanager=copy.deepcopy(config.datamanager))  # nerfstudio puts tensors into it
            super().__init__(used, device, test_mode, world_size, local_rank, grad_scaler)
            if opened is not None:
                self._prepare(*opened)

    @staticmethod
    def _open(config: ArfPipelineConfig, device: torch.device) -> tuple[Run, Field, Capture]:
        """The run, its field and its capture; the configuration learns what they are."""
        from arf.nerfstudio.runs.writing import parser_of
        from arf.radiance.opening import open_photoreal

        run = config.fitted()
        field, capture = open_photoreal(run, device, config.allow_outside)
        views = capture.train
        config.datamanager.dataparser = parser_of(run)
        config.datamanager.train_num_rays_per_batch = max(camera.pixels for camera in views.cameras)
        config.model.field_values = {"backbone": field.name, **field.values()}
        config.model.drop_weight = config.paint.dropped(field.drop)
        return run, field, capture

    def _prepare(self, run: Run, field: Field, capture: Capture) -> None:
        """Trace, re-fit, and give the model its colours."""
        from arf.radiance.looks.look import Look
        from arf.radiance.looks.painted import Painted
        from arf.radiance.operator.cache import ViewCache
        from arf.radiance.paint.painter import Painter
        from arf.radiance.paint.subject import Subject, budget
        from arf.style import encoder as encoders

        paint, device = self.config.paint, field.device
        self.fitted, self.capture = run, capture
        self.styles = [image.read_style(path) for path in self.config.style]
        encoder = encoders.load(paint.encoder, paint.encoder_weights, paint.pooling).to(device)
        cache = ViewCache(budget(paint, field), below(self.config.output, "cache"), device)
        weakref.finalize(self, cache.close)  # also when training is interrupted
        with CONSOLE.status("arf: opening the run") as status:

            def said(what: str, step: int, steps: int, _: dict[str, float]) -> None:
                status.update(f"arf: {what} {step}/{steps}")

            subject = Subject(field, capture.train, paint, said)
            self.painter = painter = Painter(subject, self.styles, encoder, paint)
            subject.open(cache, said)
            subject.refit(said)
            painter.begin()
            painter.lift(said)
        painter.theta = nn.Parameter(painter.theta.detach())
        self.config.model.field_values = {"backbone": field.name, **field.values()}  # with its grid's resolution
        look = Look(painter.theta.detach(), painter.background, painter.recolor)
        self.model.show(Painted(field, look, paint.dropped(field.drop)))
        self.model.colors.theta = painter.theta

    # --- what the trainer calls -----------------------------------------------------------------------------------

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {COLORS: [self.painter.theta]} if self.painter else super().get_param_groups()

    def get_train_loss_dict(self, step: int) -> tuple[dict, dict[str, Tensor], dict]:
        """The weighted loss terms of the step's view; their sum is what the trainer descends."""
        painter = self.painter
        i = painter.view_of(step)
        picture = painter.render(i)  # [h, w, 3]
        if step + 1 < painter.steps:
            painter.prefetch(painter.view_of(step + 1))
        self.latest = painter.losses(picture, i)
        return {"rgb": picture}, self.latest, {}

    def get_training_callbacks(self, attributes: TrainingCallbackAttributes) -> list[TrainingCallback]:
        trainer = attributes.trainer
        trainer.config.save_config()  # complete only now: ns-viewer and ns-train --load-config start from it
        at, known = TrainingCallbackLocation, {"trainer": trainer}
        return [
            TrainingCallback([at.BEFORE_TRAIN_ITERATION], self._before_first, iters=(self.first,), kwargs=known),
            TrainingCallback([at.AFTER_TRAIN_ITERATION], self._after_step, kwargs=known),
            TrainingCallback([at.AFTER_TRAIN], self._after_all, kwargs=known),
        ]

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        if self.painter:
            with plain_errors():
                if step + 1 >= self.painter.steps:
                    raise UserError(f"the checkpoint of step {step} is of a finished run; there is nothing to resume")
                if not self._is_of_this_scene(loaded_state):
                    raise UserError("the checkpoint is of another scene or other settings; resume with the run's own")
            self.first = step + 1
        super().load_pipeline(loaded_state, step)

    def _is_of_this_scene(self, state: dict[str, Any]) -> bool:
        """Whether a checkpoint has the field that was opened, which never changes, and colours of its columns."""
        frozen = {f"_model.scene.{name}": tensor for name, tensor in self.model.scene.state_dict().items()}
        colors = state.get("_model.colors.theta")
        return (
            colors is not None
            and colors.shape == self.model.colors.theta.shape
            and all(name in state and torch.equal(state[name].cpu(), tensor.cpu()) for name, tensor in frozen.items())
        )

    # --- between steps and after them -----------------------------------------------------------------------------

    def _before_first(self, step: int, trainer: Trainer) -> None:
        from arf.nerfstudio.viewing import suit_device

        viewer = trainer.viewer_state
        if isinstance(viewer, Viewer):
            suit_device(viewer, self.model, self.capture.train.cameras)
            if self.device.type == "cpu":
                viewer.train_util = PAINTING

    def _after_step(self, step: int, trainer: Trainer) -> None:
        last = step + 1 == self.painter.steps
        if last or step % CHECK_EVERY == 0 or step % trainer.config.steps_per_save == 0:
            with plain_errors():
                self._check_finite(step, trainer)
        if last:  # before the trainer saves its last checkpoint
            with torch.no_grad():
                self.model.colors.show(self.painter.finish())
            self.finished = trainer.stop_training = True  # a resumed trainer would go on for as many steps again

    def _check_finite(self, step: int, trainer: Trainer) -> None:
        if not self.painter.theta.isfinite().all():
            raise UserError(
                f"the colours became NaN at step {step}; the last good state is in {trainer.checkpoint_dir}: lower "
                f"--pipeline.paint.learning-rate (now {self.config.paint.learning_rate:g}) or style-strength"
            )

    def _after_all(self, step: int, trainer: Trainer) -> None:
        """Write what `arf render` and `arf view` open, and show the final colours."""
        if not self.finished:
            log.warning("arf: stopped before the last step; go on with --load-dir %s", trainer.checkpoint_dir)
            return
        with plain_errors():
            self._write(trainer.base_dir)
        self.painter.subject.cache.close()
        if isinstance(viewer := trainer.viewer_state, Viewer):
            for number, client in viewer.viser_server.get_clients().items():
                viewer.render_statemachines[number].action(RenderAction("rerender", viewer.get_camera_state(client)))

    def _write(self, folder: Path) -> None:
        from arf.radiance.looks.painted import Painted
        from arf.radiance.paint.leaving import description, finish_painting

        field, paint = self.model.scene, self.config.paint
        run = Run.at(folder, self.capture.name, "arf", **description(self.fitted, [*self.config.style], paint, field))
        final = {name: float(term.detach()) for name, term in self.latest.items()}
        metrics = {"final": {"step": self.painter.steps, **final}}
        look = self.model.colors.look()
        preview = self.painter.preview(look.theta, look.background)
        painted = Painted(field, look, paint.dropped(field.drop))
        finish_painting(run, painted, preview, self.painter.steps, metrics)
