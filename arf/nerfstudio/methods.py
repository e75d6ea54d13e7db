"""Our methods, as nerfstudio's entry points find them. An error here would break every ns-* command."""

from __future__ import annotations

from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.plugins.types import MethodSpecification

from arf.nerfstudio.config import STEPS, machine, manager, trainer
from arf.nerfstudio.models.nerfacto import NerfactoFieldConfig
from arf.nerfstudio.models.voxel import VoxelModelConfig
from arf.nerfstudio.pipeline import ArfPipelineConfig
from arf.nerfstudio.trainer import ArfTrainerConfig

arf_voxel = MethodSpecification(
    config=trainer("arf-voxel", VoxelModelConfig(total_steps=STEPS["arf-voxel"])),
    description="Sparse voxel grid with linear colour: a radiance field that fits on a laptop's CPU.",
)

arf_nerfacto = MethodSpecification(
    config=trainer("arf-nerfacto", NerfactoFieldConfig()),
    description="nerfacto on captures that arf reads, ready to be repainted; downloads nothing.",
)

arf_stylized = MethodSpecification(
    config=ArfTrainerConfig(
        method_name="arf",
        steps_per_eval_batch=0,
        steps_per_eval_image=100,
        steps_per_eval_all_images=0,  # a painting has no ground truth
        machine=machine(),
        pipeline=ArfPipelineConfig(datamanager=manager()),
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15),
        vis="viewer+tensorboard",
    ),
    description="Repaint a scene of `arf fit` in the style of a picture, and watch it being painted in the viewer.",
)
