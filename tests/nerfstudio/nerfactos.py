"""Small nerfactos, for tests: fitted by nobody, yet with something to be seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from nerfstudio.data.scene_box import SceneBox
from tiny import FIT
from voxels import BOX

from arf.nerfstudio.models import nerfacto_kind
from arf.nerfstudio.models.nerfacto import NerfactoField, NerfactoFieldConfig

TINY = replace(FIT, backbone="nerfacto", steps=14, save_every=7, hash_size=8, rays=48, background="auto")

NETWORK = {"hidden_dim": 8, "log2_hashmap_size": 8, "num_levels": 2, "max_res": 16, "use_linear": False}
SMALL = {
    "implementation": "torch",
    "num_levels": 3,
    "max_res": 32,
    "log2_hashmap_size": 10,
    "hidden_dim": 16,
    "hidden_dim_color": 16,
    "appearance_embed_dim": 4,
    "num_proposal_samples_per_ray": (24, 16),
    "num_nerf_samples_per_ray": 12,
    "proposal_net_args_list": [NETWORK, NETWORK],
    "color_resolution": 24,
    "camera_optimizer": {"mode": "off"},
}


def small_nerfacto(seed: int = 0, **options: object) -> NerfactoField:
    """Random density and colours that vary in space; `options` are nerfacto's own settings."""
    torch.manual_seed(seed)
    config = NerfactoFieldConfig.of({**SMALL, **options})
    model = config.setup(scene_box=SceneBox(aabb=BOX), num_train_data=3)
    with torch.no_grad():
        for table in [model.field.mlp_base.model[0], *(network.encoding for network in model.proposal_networks)]:
            table.hash_table.normal_(std=2)
        model.field.mlp_head.layers[-1].weight.mul_(20)
        model.field.embedding_appearance.embedding.weight.normal_()
    return model.eval()


@contextmanager
def small_fits() -> Iterator[None]:
    """Fits of nerfacto take one as small. By one thread, for torch sums a hash grid's gradient in the order in which
    its threads come: only one gives the same bits again."""
    before, plan = torch.get_num_threads(), nerfacto_kind.plan
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nerfacto_kind, "plan", lambda *parts: {**SMALL, **plan(*parts)})
        yield
    torch.set_num_threads(before)
