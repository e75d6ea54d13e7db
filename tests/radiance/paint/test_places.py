"""Places: regions, lifted to the columns of a field and seen in its views."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from arf.errors import UserError
from arf.media import image
from arf.radiance.fields.seen import seen
from arf.radiance.paint.places import masks_of, overlay, places_of
from arf.radiance.paint.subject import Subject
from arf.radiance.settings import Region

CPU = torch.device("cpu")


def shown(subject: Subject, share: torch.Tensor, i: int) -> torch.Tensor:
    return subject.operators[i].apply(share[:, None].expand(-1, 3).contiguous(), torch.zeros(3))[..., 0]


def test_two_masks_of_an_object_mark_it_in_views_that_have_none(subject, room, make_scene, tmp_path):
    """The vase stands in the middle: seen from two sides, it is found from all. The fit is a coarse one."""
    meta = json.loads((room / "transforms.json").read_text())
    poses = {Path(f["file_path"]).stem: torch.tensor(f["transform_matrix"])[:3] for f in meta["frames"]}
    truth = {name: make_scene.render_mask(poses[name], make_scene.VASE, 28) for name in subject.views.names}
    masked = subject.views.names[2], subject.views.names[11]
    for name in masked:
        image.write(tmp_path / f"{name}.png", truth[name][..., None].expand(-1, -1, 3))
    (place,) = places_of(subject, [Region.parse(" ".join(f"{tmp_path}/{n}.png@{n}" for n in masked))], False)
    found = beyond = area = 0
    for name, mask in zip(subject.views.names, place.masks, strict=True):
        if name not in masked:
            marked, object_ = mask > 127, truth[name] > 0.5
            found, beyond = found + (marked & object_).sum(), beyond + (marked & (truth[name] < 0.1)).sum()
            area += object_.sum()
    assert found > 0.7 * area
    assert beyond < 0.2 * area


def test_a_mask_that_is_white_everywhere_marks_what_its_view_sees(subject, tmp_path):
    image.write(tmp_path / "all.png", torch.ones(28, 28, 3))
    name = subject.views.names[4]
    (place,) = places_of(subject, [Region.parse(f"{tmp_path}/all.png@{name}")], False)
    weight = subject.operators[4].transpose(torch.ones(28, 28, 1))[:, 0]
    assert place.share[weight > 0.5].min() == 1
    assert torch.equal(place.masks[4], (shown(subject, place.share, 4).clamp(0, 1) * 255).round().byte())


def test_a_sphere_and_a_box_hold_the_surfaces_in_them(subject):
    """The mean of the places at which the views see a column is where the views' own surfaces are."""
    surface = seen(subject.field, subject.views.cameras[3])
    centre = surface.points[14, 14].tolist()
    radius = 0.15
    corners = [c - radius for c in centre] + [c + radius for c in centre]
    numbers = [",".join(f"{n:.5f}" for n in (*centre, radius)), ",".join(f"{n:.5f}" for n in corners)]
    ball, box = (
        places_of(subject, [Region.parse(f"{name}={n}")], False)[0]
        for name, n in zip(("sphere", "box"), numbers, strict=True)
    )
    inside = (surface.points - torch.tensor(centre)).norm(dim=2) < 0.7 * radius
    outside = (surface.points - torch.tensor(centre)).norm(dim=2) > 3 * radius
    for place in (ball, box):
        assert (place.masks[3][inside] > 127).float().mean() > 0.8
        assert (place.masks[3][outside] > 127).float().mean() < 0.05
    assert box.share.sum() > ball.share.sum()


def test_depth_is_by_rank_and_parts_of_it_make_up_the_whole(subject):
    near, far = (places_of(subject, [Region.parse(f"depth={d}")], False)[0] for d in ("0,0.5", "0.5,1"))
    surface = seen(subject.field, subject.views.cameras[5])
    depth = surface.depth[surface.covered]
    marked = near.masks[5][surface.covered] > 127
    assert depth[marked].mean() < depth[~marked].mean()
    both = shown(subject, near.share + far.share, 5)
    assert both.mean() > 0.75


def test_color_takes_in_what_is_of_it(subject):
    """The torus is orange and purple; nothing else is purple."""
    (place,) = places_of(subject, [Region.parse("color=117,51,133 tolerance=0.25")], False)
    for i in (0, 6, 12):
        photograph, marked = subject.image(i), place.masks[i] > 127
        near = (photograph - torch.tensor([117, 51, 133]) / 255).norm(dim=2)
        if marked.any():
            assert near[marked].mean() < 0.7 * near[~marked].mean()
    assert any((mask > 127).any() for mask in place.masks)


def test_what_is_said_together_holds_together(subject):
    near, both = (
        places_of(subject, [Region.parse(words)], False)[0]
        for words in ("depth=0,0.6", "depth=0,0.6 color=117,51,133 tolerance=0.4")
    )
    assert (both.share <= near.share + 1e-5).all()
    assert both.share.sum() < 0.7 * near.share.sum()


def test_a_soft_border_is_wider(subject):
    hard, soft = (places_of(subject, [Region.parse(f"depth=0,0.4{words}")], False)[0] for words in ("", " soft=0.2"))
    between = [((p.share > 0.1) & (p.share < 0.9)).float().mean() for p in (hard, soft)]
    assert between[1] > 1.3 * between[0]


def test_regions_that_overlap_share_and_the_rest_is_what_is_left(subject):
    regions = [Region.parse("depth=0,0.7"), Region.parse("depth=0.3,1 strength=0.4")]
    *places, rest = places_of(subject, regions, True)
    assert [place.strength for place in places] == [1, 0.4]
    total = sum(place.share for place in (*places, rest))
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)
    assert min(place.share.min() for place in (*places, rest)) >= -1e-5
    for i in range(len(subject)):
        assert (sum(place.masks[i].int() for place in (*places, rest)) - 255).abs().max() <= 2  # the background, too
    overlapping = (places[0].share > 0.1) & (places[1].share > 0.1)
    assert overlapping.any()


def test_nothing_is_refused(subject):
    with pytest.raises(UserError, match=r"there is nothing in the region 'sphere=50,50,50,1': no view shows"):
        places_of(subject, [Region.parse("sphere=50,50,50,1")], False)


@pytest.mark.parametrize(("picture", "view", "said"), [
    ((28, 28, 0.0), "{0}", "is empty as a mask"),
    ((28, 10, 1.0), "{0}", "is 10×28 pixels, and the view"),
    ((28, 28, 1.0), "nowhere", "is of no view"),
    (None, "{0}", "no picture at"),
])  # fmt: skip
def test_masks_that_are_refused(subject, tmp_path, picture, view, said):
    if picture:
        image.write(tmp_path / "m.png", torch.full((*picture[:2], 3), picture[2]))
    with pytest.raises(UserError, match=said):
        masks_of(Region.parse(f"{tmp_path}/m.png@{view.format(*subject.views.names)}"), subject.views)


def test_masks_of_another_size_are_resized_and_two_of_one_view_add_up(subject, tmp_path):
    left = torch.zeros(56, 56, 3)
    left[:, :28] = 1
    image.write(tmp_path / "left.png", left)
    image.write(tmp_path / "right.png", left.flip(1))
    name = subject.views.names[3]
    one = masks_of(Region.parse(f"{tmp_path}/left.png@{name}"), subject.views)
    assert list(one) == [3]
    assert one[3].shape == (28, 28)
    assert one[3][:, :13].min() > 0.9
    assert one[3][:, 15:].max() < 0.1
    both = masks_of(Region.parse(f"{tmp_path}/left.png@{name} {tmp_path}/right.png@{name}"), subject.views)
    assert both[3].min() > 0.4


def test_the_overlay_tints_what_is_marked(subject):
    places = places_of(subject, [Region.parse("depth=0,0.4")], False)
    sheet = overlay(subject, places)
    assert sheet.shape[1] == 2 * 28 + 3 * 8
    tinted = sheet[8:36, 44:72]
    saturation = tinted.amax(2) - tinted.amin(2)
    mask = places[0].masks[2] > 127  # the first of the views that are shown
    assert saturation[mask].mean() > 3 * saturation[~mask].mean()
