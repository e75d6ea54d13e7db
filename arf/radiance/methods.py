"""Our methods, as nerfstudio's entry points find them. An error here would break every ns-* command."""

from __future__ import annotations

import torch
from nerfstudio.configs.base_config import MachineConfig, ViewerConfig
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager, VanillaDataManagerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.engine.schedulers import MultiStepSchedulerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig
from nerfstudio.plugins.types import MethodSpecification

from arf.radiance.capture import CaptureDataParserConfig
from arf.radiance.nerfacto import NerfactoBackboneConfig
from arf.radiance.pictures import CaptureDataset
from arf.radiance.pipeline import ArfPipelineConfig
from arf.radiance.stylized import StylizedModelConfig
from arf.radiance.trainer import ArfTrainerConfig
from arf.radiance.voxel_model import VoxelModelConfig


def _machine() -> MachineConfig:
    return MachineConfig(device_type="cuda" if torch.cuda.is_available() else "cpu")


def _manager() -> VanillaDataManagerConfig:
    return VanillaDataManagerConfig(
        _target=VanillaDataManager[CaptureDataset],
        dataparser=CaptureDataParserConfig(),
        train_num_rays_per_batch=4096,
        eval_num_rays_per_batch=4096,
    )


def _trainer(method: str, model, steps: int, **rates: float) -> TrainerConfig:
    """`rates`: Adam's learning rate at the start, for each group of parameters."""
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
        machine=_machine(),
        pipeline=VanillaPipelineConfig(datamanager=_manager(), model=model),
        optimizers=optimizers,
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15, quit_on_train_completion=True),
        vis="tensorboard",
    )


arf_voxel = MethodSpecification(
    config=_trainer("arf-voxel", VoxelModelConfig(total_steps=2000), 2000, fields=0.06),
    description="Sparse voxel grid with linear colour: a radiance field that fits on a laptop's CPU.",
)


arf_nerfacto = MethodSpecification(
    config=_trainer(
        "arf-nerfacto", NerfactoBackboneConfig(), 15_000, fields=0.01, proposal_networks=0.01, camera_opt=0.001
    ),
    description="nerfacto on captures that arf reads, ready to be repainted; downloads nothing.",
)


def stylized_trainer() -> TrainerConfig:
    """Configuration under which nerfstudio opens a run of `arf stylize`."""
    return _trainer("arf", StylizedModelConfig(), 1, fields=0.06)


arf_stylized = MethodSpecification(
    config=ArfTrainerConfig(
        method_name="arf",
        steps_per_eval_batch=0,
        steps_per_eval_image=100,
        steps_per_eval_all_images=0,  # a painting has no ground truth
        machine=_machine(),
        pipeline=ArfPipelineConfig(datamanager=_manager()),
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15),
        vis="viewer+tensorboard",
    ),
    description="Repaint a scene of `arf fit` in the style of a picture, and watch it being painted in the viewer.",
)
