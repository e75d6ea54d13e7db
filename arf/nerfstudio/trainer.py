"""Configuration of nerfstudio's trainer for stage 2: how many steps, Adam, and its rate, from the style settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import tyro
from nerfstudio.engine.optimizers import OptimizerConfig
from nerfstudio.engine.schedulers import Scheduler, SchedulerConfig
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from torch.optim.lr_scheduler import LambdaLR

from arf.errors import UserError
from arf.nerfstudio.pipeline import COLORS, ArfPipelineConfig, plain_errors


@dataclass
class PaintAdamConfig(OptimizerConfig):
    """Adam as `arf stylize` has it."""

    betas: tuple[float, float] = (0.9, 0.99)
    fused: bool = True


@dataclass
class FallOffConfig(SchedulerConfig):
    """Exponential decay; nerfstudio's own puts numpy scalars into checkpoints, which torch refuses to load."""

    _target: type = field(default_factory=lambda: FallOff)
    steps: int = 1
    """Steps until the rate is `final` of what it was."""
    final: float = 0.1


class FallOff(Scheduler):
    config: FallOffConfig

    def get_scheduler(self, optimizer: torch.optim.Optimizer, lr_init: float) -> LambdaLR:
        config = self.config
        return LambdaLR(optimizer, lambda step: config.final ** (step / config.steps))


@dataclass
class ArfTrainerConfig(TrainerConfig):
    """nerfstudio's trainer, told by the run and the style settings."""

    pipeline: ArfPipelineConfig = field(default_factory=ArfPipelineConfig)
    max_num_iterations: int = 0
    """Steps; 0 takes those of pipeline.paint."""
    steps_per_save: int = 100
    optimizers: tyro.conf.Suppress[dict[str, Any]] = field(default_factory=dict)
    """Follow from pipeline.paint."""

    def set_experiment_name(self) -> None:
        """The scene's name. nerfstudio asks first of all, so what is missing is said before anything is written."""
        if self.experiment_name is None:
            from arf.radiance.records import fit_record

            with plain_errors():
                self.experiment_name = fit_record(self.pipeline.fitted()).scene

    def setup(self, **kwargs: Any) -> Trainer:
        with plain_errors():
            self._complete()
        return super().setup(**kwargs)

    def _complete(self) -> None:
        """Fill in what follows from the run and the style settings."""
        from arf.radiance.opening import capture_of
        from arf.radiance.paint.painter import FINAL_RATE

        paint, steps = self.pipeline.paint, self.max_num_iterations
        run = self.pipeline.fitted()
        if self.machine.num_devices * self.machine.num_machines != 1:
            raise UserError("a scene is repainted on one device: leave --machine.num-devices and num-machines at 1")
        if steps and paint.steps not in (None, steps):
            raise UserError(f"{paint.steps} steps in --pipeline.paint.steps, {steps} in --max-num-iterations: give one")
        paint.steps = steps or paint.steps or paint.steps_of(len(capture_of(run, self.pipeline.allow_outside).train))
        paint.device, paint.save_every = self.machine.device_type, self.steps_per_save
        self.max_num_iterations, self.pipeline.output = paint.steps, self.get_base_dir()
        adam, fall_off = PaintAdamConfig(lr=paint.learning_rate), FallOffConfig(steps=paint.steps, final=FINAL_RATE)
        self.optimizers = {COLORS: {"optimizer": adam, "scheduler": fall_off}}
