"""What a nerfstudio model knows of its place: what our dataparser put into the capture's metadata."""

from __future__ import annotations

import torch
from nerfstudio.models.base_model import Model

from arf.radiance.capture.views import Capture
from arf.radiance.fields.place import Place


def metadata_of(capture: Capture) -> dict[str, object]:
    """What a dataparser tells the model."""
    return {
        "kind": capture.kind, "space_box": capture.space_box, "bounds": capture.bounds,
        "transparent": capture.train.transparent,
    }  # fmt: skip


def place_of(model: Model) -> Place:
    """The place of a model; of captures that another dataparser read, an unbounded one."""
    metadata = model.kwargs.get("metadata") or {}
    cube = torch.tensor([[-1.0] * 3, [1.0] * 3])
    scene_box = cube if model.scene_box is None else model.scene_box.aabb
    space_box = torch.as_tensor(metadata.get("space_box", scene_box))
    transparent = bool(metadata.get("transparent"))
    return Place(metadata.get("kind", "unbounded"), scene_box, space_box, model.num_train_data, transparent)
