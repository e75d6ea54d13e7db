"""Mixing photoreal and painted colours, by itself and inside the stylized model."""

from __future__ import annotations

import pytest
import torch

from arf.errors import UserError
from arf.radiance.looks.blend import blend, check_strength
from arf.style.color import LUMA

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
