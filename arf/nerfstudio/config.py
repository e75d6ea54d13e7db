"""Configurations of nerfstudio's trainer for models of ours: to train them with ns-train, and to open runs of them."""

from __future__ import annotations

import torch
from nerfstudio.configs.base_config import MachineConfig, ViewerConfig
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager, VanillaDataManagerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.engine.schedulers import MultiStepSchedulerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.models.base_model import ModelConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig

from arf.nerfstudio.parser import CaptureDataParserConfig, CaptureDataset

STEPS = {"arf-voxel": 2000, "arf-nerfacto": 15_000, "arf": 1}  # "arf": runs of `arf stylize`, which only open
RATES = {  # Adam's learning rate at the start, for each group of parameters
    "arf-voxel": {"fields": 0.06},
    "arf-nerfacto": {"fields": 0.01, "proposal_networks": 0.01, "camera_opt": 0.001},
    "arf": {"fields": 0.06},
}


def machine() -> MachineConfig:
    return MachineConfig(device_type="cuda" if torch.cuda.is_available() else "cpu")


def manager() -> VanillaDataManagerConfig:
    return VanillaDataManagerConfig(
        _target=VanillaDataManager[CaptureDataset],
        dataparser=CaptureDataParserConfig(),
        train_num_rays_per_batch=4096,
        eval_num_rays_per_batch=4096,
    )


def trainer(method: str, model: ModelConfig) -> TrainerConfig:
    """The configuration under which nerfstudio trains one of our methods, or opens a run of it."""
    steps, rates = STEPS[method], RATES[method]
    optimizers = {
        group: {
            "optimizer": AdamOptimizerConfig(lr=rate, eps=1e-15),
            # a tenth in ten steps; nerfstudio's exponential one puts numpy scalars into checkpoints: torch refuses them
            "scheduler": MultiStepSchedulerConfig(
                max_steps=steps, gamma=0.1**0.1, milestones=tuple(steps * k // 10 for k in range(1, 11))
            ),
        }
        for group, rate in rates.items()
    }
    return TrainerConfig(
        method_name=method,
        max_num_iterations=steps,
        steps_per_save=500,
        steps_per_eval_batch=0,
        steps_per_eval_image=500,
        steps_per_eval_all_images=steps,
        mixed_precision=False,
        machine=machine(),
        pipeline=VanillaPipelineConfig(datamanager=manager(), model=model),
        optimizers=optimizers,
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15, quit_on_train_completion=True),
        vis="tensorboard",
    )
