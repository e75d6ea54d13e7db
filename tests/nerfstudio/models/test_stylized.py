"""The stylized model behind nerfstudio's interface."""

from __future__ import annotations

import copy

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.scene_box import SceneBox

from arf.jobs.runs import Run
from arf.nerfstudio.models.places import metadata_of
from arf.nerfstudio.models.stylized import StylizedModel, StylizedModelConfig
from arf.nerfstudio.parser import to_nerfstudio
from arf.radiance.looks.blend import blend
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_painted

CPU = torch.device("cpu")


def model_of(run: Run, **options: object) -> tuple[StylizedModel, Cameras]:
    """A painting as nerfstudio's model, and its held-out cameras."""
    painted, capture = open_painted(run, CPU)
    values = {"backbone": painted.field.name, **painted.field.values()}
    config = StylizedModelConfig(field_values=values, drop_weight=painted.drop, **options)
    box = SceneBox(aabb=capture.scene_box)
    model = config.setup(scene_box=box, num_train_data=len(capture.train), metadata=metadata_of(capture))
    model.show(painted)
    return model, to_nerfstudio(capture.held_out.cameras)


@pytest.mark.parametrize("kind", ["stylized", "painted_nerfacto"])
def test_it_renders_what_our_own_commands_do(kind, request):
    run = request.getfixturevalue(kind)
    model, cameras = model_of(run)
    painted, capture = open_painted(run, CPU)
    outputs = model.get_outputs_for_camera(cameras[0:1])
    wanted = picture(painted.field, painted.look, capture.held_out.cameras[0], drop=painted.drop)
    both = torch.cat([outputs["photoreal"], outputs["stylized"]], -1)
    torch.testing.assert_close(both, wanted, rtol=0, atol=1e-5)


def test_the_model_blends_as_its_controls_say(stylized):
    model, cameras = model_of(stylized)
    camera = cameras[0:1]
    full = model.get_outputs_for_camera(camera)
    assert torch.equal(full["rgb"], full["stylized"])
    assert not torch.equal(full["stylized"], full["photoreal"])
    model.strength.value = 0.0
    assert torch.equal(model.get_outputs_for_camera(camera)["rgb"], full["photoreal"])
    model.strength.value, model.preserve_color.value = 0.5, True
    outputs = model.get_outputs_for_camera(camera)
    wanted = blend(full["photoreal"], full["stylized"], 0.5, preserve_color=True)
    both = torch.cat([full["stylized"], full["photoreal"]], -1)
    clear = ((both > 0) & (both < 1)).all(-1)  # the model blends before it clamps
    assert clear.sum() > 100
    torch.testing.assert_close(outputs["rgb"][clear], wanted.clamp(0, 1)[clear])
    for name in ("stylized", "photoreal", "depth", "accumulation"):
        assert torch.equal(outputs[name], full[name]), name


def test_the_controls_start_where_the_configuration_says(stylized):
    model, _ = model_of(stylized, strength=0.25, preserve_color=True)
    assert (model.strength.value, model.preserve_color.value) == (0.25, True)


def test_controls_are_no_state_and_copy(stylized):
    model, cameras = model_of(stylized)
    model.strength.value = 0.25
    assert not any("strength" in name or "preserve" in name for name in model.state_dict())
    other = copy.deepcopy(model)
    assert other.strength.value == 0.25
    other.strength.value = 1.0
    assert model.strength.value == 0.25
    camera = cameras[0:1]
    assert torch.equal(other.get_outputs_for_camera(camera)["rgb"], model.get_outputs_for_camera(camera)["stylized"])


def test_no_trainer_gets_it_out_of_evaluation_mode(stylized):
    model, _ = model_of(stylized)
    assert model.train() is model
    assert not any(module.training for module in model.modules())


def test_its_state_comes_back_into_a_fresh_one(stylized, painted_nerfacto):
    for run in (stylized, painted_nerfacto):
        model, cameras = model_of(run)
        fresh = model.config.setup(
            scene_box=model.scene_box, num_train_data=model.num_train_data, metadata=model.kwargs["metadata"]
        )
        fresh.load_state_dict(model.state_dict())
        holder = torch.nn.ModuleDict({"_model": fresh})
        holder.load_state_dict({}, strict=False)  # a pipeline of nerfstudio's goes on to load what is left
        wanted, found = (m.eval().get_outputs_for_camera(cameras[0:1]) for m in (model, fresh))
        for name, output in wanted.items():
            assert torch.equal(found[name], output), name
