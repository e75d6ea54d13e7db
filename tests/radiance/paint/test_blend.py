"""Mixing photoreal and painted colours, by itself and inside the stylized model."""

from __future__ import annotations

import copy

import pytest
import torch

from arf.errors import UserError
from arf.nerfstudio.stylized import StylizedModel, StylizedModelConfig
from arf.radiance.opening import open_painted
from arf.radiance.paint.blend import blend, check_strength
from arf.style.color import LUMA

CPU = torch.device("cpu")
PHOTOREAL = torch.tensor([[0.2, 0.4, 0.6], [1.0, 0.0, 0.5]])
PAINTED = torch.tensor([[0.6, 0.0, 0.2], [0.0, 1.0, 0.5]])


@pytest.mark.parametrize(
    ("strength", "wanted"),
    [
        (0.0, [[0.2, 0.4, 0.6], [1.0, 0.0, 0.5]]),
        (0.25, [[0.3, 0.3, 0.5], [0.75, 0.25, 0.5]]),
        (1.0, [[0.6, 0.0, 0.2], [0.0, 1.0, 0.5]]),
    ],
)
def test_blend_is_linear_in_between(strength, wanted):
    torch.testing.assert_close(blend(PHOTOREAL, PAINTED, strength), torch.tensor(wanted))


def test_the_ends_are_exact():
    a, b = torch.randn(2, 50, 3)
    assert torch.equal(blend(a, b, 0.0, preserve_color=True), a)
    assert torch.equal(blend(a, b, 1.0), b)


def test_preserve_color_takes_lightness_from_the_paint_and_chroma_from_the_photograph():
    luma = torch.tensor(LUMA)
    full = blend(PHOTOREAL, PAINTED, 1.0, preserve_color=True)
    torch.testing.assert_close(full @ luma, PAINTED @ luma)
    torch.testing.assert_close(full - full[:, :1], PHOTOREAL - PHOTOREAL[:, :1])
    half = blend(PHOTOREAL, PAINTED, 0.5, preserve_color=True)
    torch.testing.assert_close(half, (full + PHOTOREAL) / 2)


def test_blend_takes_any_leading_shape_and_refuses_two():
    assert blend(torch.zeros(4, 5, 2, 3), torch.ones(4, 5, 2, 3), 0.5).shape == (4, 5, 2, 3)
    with pytest.raises(ValueError, match=r"\[2, 3\] and \[1, 3\]"):
        blend(PHOTOREAL, PAINTED[:1], 0.5)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), float("inf")])
def test_a_strength_outside_0_to_1_is_refused(value):
    with pytest.raises(UserError, match=f"style strength is {value:g}; it must lie between 0 and 1"):
        check_strength(value)
    with pytest.raises(UserError, match="style strength"):
        StylizedModelConfig(strength=value).setup(scene_box=None, num_train_data=1)


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
