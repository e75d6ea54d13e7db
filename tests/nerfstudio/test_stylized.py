"""The stylized model behind nerfstudio's interface."""

from __future__ import annotations

import copy

import torch

from arf.nerfstudio.stylized import StylizedModel
from arf.radiance.looks.blend import blend
from arf.radiance.opening import open_painted

CPU = torch.device("cpu")


def test_the_model_blends_as_its_controls_say(stylized):
    model, capture = open_painted(stylized, CPU)
    camera = capture.held_out.cameras[0:1]
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
    model, _ = open_painted(stylized, CPU)
    config = copy.deepcopy(model.config)
    config.strength, config.preserve_color = 0.25, True
    other = StylizedModel.around(config, model.backbone, model.colors)
    assert (other.strength.value, other.preserve_color.value) == (0.25, True)


def test_controls_are_no_state_and_copy(stylized):
    model, capture = open_painted(stylized, CPU)
    model.strength.value = 0.25
    assert not any("strength" in name or "preserve" in name for name in model.state_dict())
    other = copy.deepcopy(model)
    assert other.strength.value == 0.25
    other.strength.value = 1.0
    assert model.strength.value == 0.25
    camera = capture.held_out.cameras[0:1]
    assert torch.equal(other.get_outputs_for_camera(camera)["rgb"], model.get_outputs_for_camera(camera)["stylized"])


def test_no_trainer_gets_it_out_of_evaluation_mode(stylized):
    model, _ = open_painted(stylized, CPU)
    assert model.train() is model
    assert not any(module.training for module in model.modules())
