"""A run of plain `ns-train nerfacto`, made by nerfstudio's own Trainer within a second or two."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from captures import ring, write_transforms
from nerfstudio.configs.method_configs import method_configs
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.models.nerfacto import NerfactoModel
from nerfstudio.utils import writer


class StandIn(torch.nn.Module):
    """In place of LPIPS, whose weights would be downloaded; it has weights too."""

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.net = torch.nn.Linear(2, 2)


def train_stock(root: Path) -> tuple[Path, TrainerConfig, NerfactoModel]:
    """Two steps of a small nerfacto on nine views: the run directory, its configuration and the trained model.

    It asks for tinycudann, as nerfacto does, and gets torch, as nerfstudio does without a word where there is none.
    """
    config = copy.deepcopy(method_configs["nerfacto"])
    config.output_dir, config.timestamp = root / "outputs", "now"
    config.data = write_transforms(root / "shed", ring(9))
    config.machine.device_type, config.vis, config.max_num_iterations = "cpu", "tensorboard", 2
    config.mixed_precision = False  # which the CPU has not
    config.steps_per_eval_batch = config.steps_per_eval_image = config.steps_per_eval_all_images = 1000
    parser = NerfstudioDataParserConfig(eval_mode="interval", eval_interval=3, scale_factor=0.9)
    manager = VanillaDataManagerConfig(dataparser=parser, data=config.data, train_num_rays_per_batch=16)
    network = {"hidden_dim": 8, "log2_hashmap_size": 5, "num_levels": 2, "max_res": 16, "use_linear": False}
    model = replace(
        config.pipeline.model, num_levels=2, log2_hashmap_size=6, max_res=32, hidden_dim=8, hidden_dim_color=8,
        num_proposal_samples_per_ray=(8, 6), num_nerf_samples_per_ray=4, proposal_net_args_list=[network, network],
        implementation="tcnn", appearance_embed_dim=4,
    )  # fmt: skip
    config.pipeline = replace(config.pipeline, datamanager=manager, model=model)
    config.save_config()
    with (
        patch("torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity", StandIn),
        patch("nerfstudio.field_components.mlp.TCNN_EXISTS", False),
        patch("nerfstudio.field_components.encodings.TCNN_EXISTS", False),
    ):
        trainer = config.setup()
        trainer.setup()
        trainer.train()
    writer.EVENT_WRITERS.clear()  # nerfstudio's are global
    return config.get_base_dir(), config, trainer.pipeline.model
