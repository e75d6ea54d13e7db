"""nerfacto as a field: what is traced is what it renders, its samples lie where its own contraction puts them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from nerfactos import TINY, small_fits, small_nerfacto
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.field_components.spatial_distortions import SceneContraction
from tiny import STYLIZE
from voxels import BOX, around, views_around

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.jobs.tensors import save_tensors
from arf.nerfstudio.models import nerfacto_kind
from arf.nerfstudio.models.nerfacto import NerfactoField, NerfactoFieldConfig, has_tcnn
from arf.radiance.fields import kinds
from arf.radiance.fields.field import Trace
from arf.radiance.fields.place import Place
from arf.radiance.fields.rays.samples import median_depth
from arf.radiance.fields.voxel.grid import linear_index
from arf.radiance.fit import loop
from arf.radiance.fit.loop import fit
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.operator.matrix import build
from arf.radiance.paint.stylize import stylize
from arf.radiance.settings import FitSettings
from arf.radiance.share import pointcloud
from arf.style.color import Affine

CPU = torch.device("cpu")
KINDS = {
    "contracted": {},
    "box": {"disable_scene_contraction": True},
    "white behind": {"background_color": "white", "average_init_density": 0.01},
    "random behind": {"background_color": "random", "average_init_density": 0.01},
    "no appearance code": {"use_average_appearance_embedding": False},
}


def rays() -> tuple[torch.Tensor, torch.Tensor]:
    return around(2)[1].rays()


def row_sums(traced: Trace) -> torch.Tensor:
    """[P] what the columns of each pixel weigh together."""
    total = torch.cat([torch.zeros(1), traced.weights.double().cumsum(0).float()])
    return total[traced.starts].diff()


@pytest.mark.parametrize("name", KINDS)
def test_what_is_traced_is_what_nerfacto_renders(name):
    model = small_nerfacto(**KINDS[name])
    model.chunk = 100
    traced = model.trace_rays(rays())
    origins, directions = rays()
    one = torch.ones(len(origins), 1)
    with torch.no_grad():
        own = model(RayBundle(origins, directions, pixel_area=one, camera_indices=one.int()))
    torch.testing.assert_close(traced.color, own["rgb"], rtol=0, atol=2e-6)
    total = row_sums(traced) + traced.rest[:, 3]
    if model.config.background_color != "last_sample":  # there, nothing is left over
        torch.testing.assert_close(total, own["accumulation"][:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(total + traced.leftover, torch.ones(len(origins)), rtol=0, atol=1e-5)
    assert traced.color.std(0).mean() > 0.01  # something is to be seen
    shot = model.shoot(around(2)[1])
    torch.testing.assert_close(shot.color, traced.color, rtol=0, atol=2e-6)
    torch.testing.assert_close(shot.depth, traced.depth, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["contracted", "box"])
def test_cells_are_where_nerfstudio_puts_the_samples(name):
    model = small_nerfacto(**KINDS[name])
    origins, directions = rays()
    samples, *_ = model.samples(origins, directions)
    at = origins[samples.ray] + samples.depth[:, None] * directions[samples.ray]
    if name == "contracted":
        unit = (SceneContraction(order=float("inf"))(at) + 2) / 4
    else:
        unit = SceneBox.get_normalized_positions(at, model.scene_box.aabb)
    shape = torch.tensor(model.shape)
    cell = torch.stack(torch.unravel_index(samples.cell, model.shape), -1)
    found = (cell + samples.fraction) / shape
    inside = ((unit > 0) & (unit < 1)).all(1)
    torch.testing.assert_close(found[inside], unit[inside], rtol=0, atol=2e-5)
    assert ((cell >= 0) & (cell < shape)).all()
    torch.testing.assert_close(model.places(samples), cell + samples.fraction, rtol=0, atol=1e-6)
    assert inside.float().mean() > 0.2


def test_the_box_gets_cubic_cells():
    assert small_nerfacto().shape == (24, 24, 24)
    assert small_nerfacto(disable_scene_contraction=True).shape == (24, 24, 18)  # a box of 2 x 2 x 1.5


def test_vertex_colors_are_the_fields_own_there():
    model = small_nerfacto()
    keys = torch.tensor([linear_index(torch.tensor(c), (25, 25, 25)) for c in ([12, 14, 9], [3, 22, 12], [0, 0, 24])])
    colors = model.vertex_colors(keys)
    # the second vertex lies outside the unit cube: y is squeezed to 2 - 1/r
    squeezed = (torch.tensor([3.0, 22.0, 12.0]) / 24 - 0.5) * 4
    radius = 1 / (2 - squeezed.abs().max())
    world = squeezed / squeezed.abs().max() * radius
    torch.testing.assert_close(SceneContraction(order=float("inf"))(world[None])[0], squeezed)
    bundle = RayBundle(
        world[None] * 0.999, world[None] / world.norm(), torch.ones(1, 1), camera_indices=torch.zeros(1, 1).int()
    )
    samples = bundle.get_ray_samples(torch.zeros(1, 1, 1), 0.002 * world.norm().view(1, 1, 1))
    own = next(v for k, v in model.field(samples).items() if k.value == "rgb")
    torch.testing.assert_close(colors[1], own[0, 0].detach(), rtol=0, atol=1e-4)
    assert colors.isfinite().all()


def test_nothing_is_downloaded_and_nothing_is_added_to_its_checkpoints(monkeypatch):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("a download"))
    names = set(small_nerfacto().state_dict())
    assert not [n for n in names if n.startswith(("lpips", "background", "space"))]


def test_refined_poses_are_those_that_the_camera_optimizer_trains_with():
    model = small_nerfacto(camera_optimizer={"mode": "SO3xR3"})
    with torch.no_grad():
        model.camera_optimizer.pose_adjustment.normal_(std=0.05)
    cameras, wanted = around(3), []
    for i in range(3):
        origins, directions = cameras[i].rays()
        one = torch.ones(len(origins), 1)
        bundle = RayBundle(origins, directions, one, camera_indices=(one * i).int())
        model.camera_optimizer.apply_to_raybundle(bundle)
        wanted.append((bundle.origins, bundle.directions))
    refined = model.refined(cameras)
    for i, (origins, directions) in enumerate(wanted):
        torch.testing.assert_close(refined[i].rays()[0], origins, rtol=0, atol=1e-5)
        torch.testing.assert_close(refined[i].rays()[1], directions, rtol=0, atol=1e-5)
    assert not torch.equal(refined.poses, cameras.poses)
    assert torch.equal(small_nerfacto().refined(cameras).poses, cameras.poses)


PLACE = Place("unbounded", BOX, BOX, views=3, transparent=False)


def test_its_configuration_survives_json():
    model = small_nerfacto()
    values = {"backbone": model.name, **model.values()}
    back = kinds.build(json.loads(json.dumps(values)), PLACE, CPU)
    assert isinstance(back, NerfactoField)
    assert back.config == model.config
    assert back.values() == model.values()
    assert isinstance(back.config.camera_optimizer, CameraOptimizerConfig)
    with pytest.raises(UserError, match=r"unknown settings \(colour_depth\)"):
        NerfactoFieldConfig.of({"colour_depth": 3})
    with pytest.raises(UserError, match="no backbone 'splats'"):
        kinds.build({"backbone": "splats"}, PLACE, CPU)


NETWORK = {"hidden_dim": 8, "log2_hashmap_size": 8, "num_levels": 2, "max_res": 16, "use_linear": False}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_levels": "x"}, "num_levels is 'x'"),
        ({"camera_optimizer": "x"}, "camera_optimizer is 'x'"),
        ({"camera_optimizer": {"mode": "x"}}, "mode is 'x'"),
        ({"hidden_dim": 10**9}, r"hidden_dim is 1e\+09; it must be between 1 and 4096"),
        ({"log2_hashmap_size": 60}, "log2_hashmap_size is 60"),
        ({"log2_hashmap_size": 24, "num_levels": 64, "features_per_level": 16}, "takes 64 GiB, and 1 are free"),
        ({"num_proposal_samples_per_ray": []}, "num_proposal_iterations is 2"),
        ({"num_nerf_samples_per_ray": 10**9}, "num_nerf_samples_per_ray"),
        ({"proposal_net_args_list": []}, "has 0 networks"),
        ({"proposal_net_args_list": [{**NETWORK, "width": 8}]}, "there is no setting 'width'"),
        ({"proposal_net_args_list": [{**NETWORK, "log2_hashmap_size": 99}]}, "log2_hashmap_size is 99"),
        ({"color_resolution": 10**6}, "color_resolution"),
    ],
)
def test_a_configuration_that_nobody_has_is_one_line_before_memory_is_asked_for(change, message, monkeypatch):
    monkeypatch.setattr("arf.jobs.device.free_memory", lambda device: 2**30)
    with pytest.raises(UserError, match=message) as caught:
        NerfactoFieldConfig.of(change)
    assert "\n" not in str(caught.value)


def test_settings_say_what_is_made(monkeypatch):
    shared = FitSettings(backbone="nerfacto", device="cpu", refine_poses=True, hash_size=12)
    filled = shared.for_kind("unbounded")
    assert (filled.steps, filled.learning_rate, filled.final_learning_rate) == (15_000, 0.01, 0.001)
    values = kinds.plan(filled, PLACE)
    assert values == {
        "backbone": "nerfacto", "background_color": "last_sample", "disable_scene_contraction": False,
        "log2_hashmap_size": 12, "camera_optimizer": {"mode": "SO3xR3"}, "implementation": "torch",
    }  # fmt: skip
    box = replace(PLACE, kind="bounded", transparent=True)
    assert kinds.plan(filled, box)["background_color"] == "white"
    assert kinds.plan(filled, box)["disable_scene_contraction"]
    with pytest.raises(UserError, match=r"background is '0.5,0.5,0.5'; nerfacto knows"):
        kinds.plan(replace(filled, background="0.5,0.5,0.5"), PLACE)
    monkeypatch.setattr(nerfacto_kind, "has_tcnn", lambda: True)
    assert kinds.plan(replace(filled, device="auto"), PLACE)["implementation"] == "tcnn"
    assert FitSettings().for_kind("bounded").backbone == "splat"
    assert FitSettings().for_kind("bounded", nerfacto=True).backbone == "nerfacto"


@pytest.mark.skipif(has_tcnn(), reason="tinycudann is here")
def test_a_tcnn_run_without_tinycudann_is_one_clear_line():
    with pytest.raises(UserError, match="tinycudann, which is not installed here") as caught:
        small_nerfacto(implementation="tcnn")
    assert "\n" not in str(caught.value)


# --- its columns ------------------------------------------------------------------------------------------------------


def test_columns_are_those_that_the_views_meet_and_keep_their_numbers():
    model, views = small_nerfacto(), views_around(3)
    assert model.count == 0
    assert model.colors.shape == (0, 3)
    before = model.trace(views.cameras[0])
    assert len(before.columns) == 0
    torch.testing.assert_close(before.rest[:, 3] + before.leftover, torch.ones(280), rtol=0, atol=1e-5)
    met, counts = [], []
    with model.survey(views, 20) as yields:
        assert yields is True
        assert model.shape == (20, 20, 20)
        for camera in views.cameras:
            traced = model.trace(camera, 0.002)
            assert traced.rest is None
            met.append(traced)
            counts.append(model.count)
            assert 0 <= int(traced.columns.min()) <= int(traced.columns.max()) < model.count
    assert counts[0] < counts[1] <= counts[2] == model.count
    assert int(met[0].columns.max()) == counts[0] - 1  # numbered as they are met
    assert (model.keys.diff() > 0).all()
    assert torch.equal(model.numbers.sort().values.long(), torch.arange(model.count))
    for camera, then in zip(views.cameras, met, strict=True):
        now = model.trace(camera, 0.002)
        assert torch.equal(now.columns, then.columns)
        assert torch.equal(now.weights, then.weights)
        assert now.rest is None
    with model.survey(views, 20):
        assert model.count == 0  # each survey begins anew


def test_elsewhere_there_is_a_rest_and_weights_still_sum_to_one():
    model, views = small_nerfacto(), views_around(2)
    with model.survey(views, 20):
        for camera in views.cameras:
            model.trace(camera)
    count = model.count
    aside = around(5)[3]
    traced = model.trace(aside, 0.002)
    assert model.count == count  # nothing is met after the survey
    share = traced.rest[:, 3]
    assert share.max() > 0.05
    assert len(traced.columns) > 0
    total = row_sums(traced) + share + traced.leftover
    torch.testing.assert_close(total, torch.ones(len(total)), rtol=0, atol=1e-5)
    # in its own colours, everything as it was: what has no column shows the samples' own, recoloured
    swapped = Affine(torch.eye(3, dtype=torch.float64)[[2, 1, 0]], torch.zeros(3, dtype=torch.float64))
    nothing = Look(torch.zeros(count, 3), torch.zeros(3), swapped).render(traced)
    torch.testing.assert_close(nothing, traced.rest[:, :3].flip(1), rtol=0, atol=1e-6)
    assert (traced.rest[:, :3] <= traced.rest[:, 3:] + 1e-6).all()


def test_colors_are_in_the_order_of_the_columns():
    model, views = small_nerfacto(), views_around(2)
    with model.survey(views, 20):
        for camera in views.cameras:
            model.trace(camera)
    for row in (0, model.count // 2, model.count - 1):
        own = model.vertex_colors(model.keys[row : row + 1])[0]
        torch.testing.assert_close(model.colors[int(model.numbers[row])], own, rtol=0, atol=1e-6)


def test_a_survey_is_about_as_fine_as_the_views():
    model = small_nerfacto()
    for width, cells in ((20, 192), (300, 300), (2000, 768)):
        with model.survey(views_around(2, width=width)):
            assert max(model.shape) == cells == model.values()["color_resolution"]


def test_columns_are_part_of_the_state():
    model, views = small_nerfacto(), views_around(2)
    fresh = small_nerfacto(seed=1)
    with model.survey(views, 20):
        for camera in views.cameras:
            model.trace(camera)
    again = kinds.build({"backbone": "nerfacto", **model.values()}, PLACE, CPU)
    again.load_state_dict(model.state_dict())
    again.eval()
    wanted, found = (m.trace(views.cameras[1], 0.002) for m in (model, again))
    assert torch.equal(found.columns, wanted.columns)
    assert torch.equal(found.color, wanted.color)
    assert torch.equal(again.colors, model.colors)
    bare = {k: v for k, v in fresh.state_dict().items() if k not in ("keys", "numbers")}  # as ns-train nerfacto has it
    again.load_state_dict(bare)
    assert again.count == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda keys, numbers: (keys + 10**6, numbers),
        lambda keys, numbers: (keys - 10**6, numbers),
        lambda keys, numbers: (keys.flip(0), numbers),
        lambda keys, numbers: (keys, numbers + 1),
        lambda keys, numbers: (keys, numbers * 0),
        lambda keys, numbers: (keys, numbers[1:]),
        lambda keys, numbers: (keys[:, None], numbers),
        lambda keys, numbers: (keys.float(), numbers),
    ],
)
def test_columns_that_are_none_are_one_line(change, painted_nerfacto, tmp_path):
    """J24: nothing else would keep them from being read as places in memory."""
    copy = shutil.copytree(painted_nerfacto.path, tmp_path / "copy")
    tensors, _ = painted_nerfacto.load("model")
    tensors["field.keys"], tensors["field.numbers"] = change(tensors["field.keys"], tensors["field.numbers"])
    save_tensors(copy / "model.safetensors", tensors)
    with pytest.raises(UserError, match=r"do not fit its configuration .*; make the run again") as caught:
        open_painted(Run.open(copy), CPU)
    assert "\n" not in str(caught.value)


def test_its_vertices_are_adopted_by_their_numbers():
    model = small_nerfacto()
    keys = torch.tensor([3, 77, 15_000])
    assert model.adopt((24, 24, 24), keys).tolist() == [0, 1, 2]
    assert model.count == 3
    torch.testing.assert_close(model.colors, model.vertex_colors(keys))
    cases = ((24, 24, 20), keys), ((24, 24, 24), keys + 1_000), ((24, 24, 24), keys - 4), ((24, 24, 24), keys.flip(0))
    for shape, bad in cases:
        with pytest.raises(UserError, match="none of the colour grid's"):
            model.adopt(shape, bad)


def test_nerfacto_has_points_too(monkeypatch):
    monkeypatch.setattr(pointcloud, "SOLID", 0.0)  # its random density is fog
    model, camera = small_nerfacto(), around(3)[0]
    cloud = pointcloud.surface_of(model, camera)
    assert len(cloud) > 200
    samples, weight, _, _ = model.samples(*camera.rays())
    depth, _ = median_depth(samples, weight)
    origins, directions = camera.rays()
    traced = (origins + depth[:, None] * directions).double()
    assert torch.cdist(cloud.points, traced).amin(1).max() < 1e-5
    torch.testing.assert_close(cloud.normals.norm(dim=1), torch.ones(len(cloud)))


# --- fits of it -------------------------------------------------------------------------------------------------------


def test_a_fit_is_a_run_that_opens_again(nerfacto):
    info = json.loads((nerfacto.path / "arf.json").read_text())
    assert (info["method"], info["model"]["backbone"]) == ("arf-nerfacto", "nerfacto")
    assert info["model"]["implementation"] == "torch"
    model, capture = open_photoreal(nerfacto, CPU)
    assert isinstance(model, NerfactoField)
    assert not model.training
    assert model.space.kind == "bounded"  # the room has a box
    assert torch.equal(model.scene_box.aabb, capture.scene_box)
    first, last = (sum(float(row["rgb"]) for row in nerfacto.curves()[i : i + 1]) for i in (0, -1))
    assert last < first


def test_a_killed_fit_goes_on_to_the_same_result(nerfacto, room, tmp_path, monkeypatch):
    def dies(state, run):
        saved(state, run)
        raise RuntimeError("the machine went away")

    saved = loop.FitState.save
    monkeypatch.setattr(loop.FitState, "save", dies)
    with pytest.raises(RuntimeError, match="went away"), small_fits():
        fit(room, TINY, tmp_path)
    monkeypatch.undo()
    run = Run.open(tmp_path, "fit", finished=False)
    assert run.load("resume")[1]["step"] == 7
    with small_fits():
        resumed = fit(room, TINY, tmp_path, resume=run)
    whole, _ = nerfacto.load("model")
    again, _ = resumed.load("model")
    assert whole.keys() == again.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]), name


def test_it_is_repainted_like_any_backbone(painted_nerfacto):
    run = painted_nerfacto
    assert run.info["model"]["color_resolution"] == 20
    painted, capture = open_painted(run, CPU)
    field, look, camera = painted.field, painted.look, capture.train.cameras[2]
    assert field.shape == (20, 20, 14)
    photoreal, shown = picture(field, look, camera, drop=painted.drop).split(3, dim=2)
    assert not torch.allclose(shown, photoreal, atol=0.02)
    # a training view is what its operator renders: every vertex that it needs is there
    traced = field.trace(camera, painted.drop)
    assert traced.rest is None
    operator = build(traced, *camera.size, field.count)
    rendered = operator.apply(look.theta, look.background).clamp(0, 1)
    torch.testing.assert_close(shown, rendered, rtol=0, atol=1e-5)


def test_a_painting_of_it_by_arf_0_1_shows_what_it_showed(painted_nerfacto, tmp_path):
    """Its colours were those of the vertices in the order of their numbers."""
    painted, capture = open_painted(painted_nerfacto, CPU)
    field, look = painted.field, painted.look
    old = {f"backbone.{k}": v for k, v in field.state_dict().items() if k not in ("keys", "numbers")}
    old |= {"device_indicator_param": torch.empty(0)}
    old |= {f"colors.{k}": v for k, v in look.tensors().items() if k != "theta"}
    theta = look.theta[field.numbers.long()]
    old |= {"colors.shape": torch.tensor(field.shape), "colors.keys": field.keys, "colors.theta": theta}
    copy = shutil.copytree(painted_nerfacto.path, tmp_path / "old")
    save_tensors(copy / "model.safetensors", old)
    again, _ = open_painted(Run.open(copy), CPU)
    for camera in (capture.train.cameras[0], around(3)[1]):  # the second meets what no view saw
        wanted, found = (picture(p.field, p.look, camera, drop=p.drop) for p in (painted, again))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_a_color_grid_for_a_voxel_run_is_refused(fitted, paintings, tmp_path):
    with pytest.raises(UserError, match="--color-resolution is for nerfacto"):
        stylize(fitted, paintings[:1], replace(STYLIZE, color_resolution=64), tmp_path / "out")
    assert not (tmp_path / "out").exists()
