"""nerfacto as a backbone: what is traced is what it renders, its samples lie where its own contraction puts them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from arf.radiance.fields.backbones import config_of, nerfacto_config, plain
from arf.radiance.fields.trace import trace
from nerfactos import SMALL, small_nerfacto
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.field_components.spatial_distortions import SceneContraction
from tiny import FIT, STYLIZE
from voxels import around

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.nerfstudio import nerfacto
from arf.nerfstudio.nerfacto import NerfactoBackbone, NerfactoBackboneConfig
from arf.radiance.capture.views import Views
from arf.radiance.fields.voxel.grid import linear_index
from arf.radiance.fit.loop import fit
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.operator.matrix import build
from arf.radiance.paint.stylize import stylize
from arf.radiance.settings import FitSettings

CPU = torch.device("cpu")
KINDS = {
    "contracted": {},
    "box": {"disable_scene_contraction": True},
    "white behind": {"background_color": "white", "average_init_density": 0.01},
    "random behind": {"background_color": "random", "average_init_density": 0.01},
    "no appearance code": {"use_average_appearance_embedding": False},
}
TINY = replace(FIT, backbone="nerfacto", steps=14, save_every=7, hash_size=8, rays=48, background="auto")


def rays() -> tuple[torch.Tensor, torch.Tensor]:
    return Views(around(2), []).rays(1)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_traced_is_what_nerfacto_renders(name):
    model = small_nerfacto(**KINDS[name])
    model.config.eval_num_rays_per_chunk = 100
    traced = trace(model, *rays())
    origins, directions = rays()
    one = torch.ones(len(origins), 1)
    with torch.no_grad():
        own = model(RayBundle(origins, directions, pixel_area=one, camera_indices=one.int()))
    picture = traced.composite(traced.rgb, model.background)
    torch.testing.assert_close(picture, own["rgb"], rtol=0, atol=2e-6)
    total = torch.zeros(traced.rays).index_add(0, traced.ray, traced.weight)
    if model.config.background_color != "last_sample":  # there, nothing is left over
        torch.testing.assert_close(total, own["accumulation"][:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(total + traced.leftover, torch.ones(traced.rays), rtol=0, atol=1e-5)
    assert picture.std(0).mean() > 0.01  # something is to be seen


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
    shape = torch.tensor(model.color_shape)
    cell = torch.stack(torch.unravel_index(samples.cell, model.color_shape), -1)
    found = (cell + samples.fraction) / shape
    inside = ((unit > 0) & (unit < 1)).all(1)
    torch.testing.assert_close(found[inside], unit[inside], rtol=0, atol=2e-5)
    assert ((cell >= 0) & (cell < shape)).all()
    assert inside.float().mean() > 0.2


def test_the_box_gets_cubic_cells():
    assert small_nerfacto().color_shape == (24, 24, 24)
    assert small_nerfacto(disable_scene_contraction=True).color_shape == (24, 24, 18)  # a box of 2 x 2 x 1.5


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
    views = Views(around(3), [])
    wanted = []
    for i in range(3):
        origins, directions = views.rays(i)
        one = torch.ones(len(origins), 1)
        bundle = RayBundle(origins, directions, one, camera_indices=(one * i).int())
        model.camera_optimizer.apply_to_raybundle(bundle)
        wanted.append((bundle.origins, bundle.directions))
    refined = Views(model.refined(around(3)), [])
    for i, (origins, directions) in enumerate(wanted):
        torch.testing.assert_close(refined.rays(i)[0], origins, rtol=0, atol=1e-5)
        torch.testing.assert_close(refined.rays(i)[1], directions, rtol=0, atol=1e-5)
    fixed = small_nerfacto().refined(around(3))
    assert torch.equal(fixed.camera_to_worlds, around(3).camera_to_worlds)


def test_its_configuration_survives_json():
    config = NerfactoBackboneConfig.of(SMALL)
    back = config_of(json.loads(json.dumps(plain(config))))
    assert back == config
    assert isinstance(back.camera_optimizer, CameraOptimizerConfig)
    with pytest.raises(UserError, match="unknown nerfacto setting colour_depth"):
        NerfactoBackboneConfig.of({"colour_depth": 3})
    with pytest.raises(UserError, match="no backbone 'splats'"):
        config_of({"backbone": "splats"})


def test_settings_say_what_is_made(monkeypatch):
    shared = FitSettings(backbone="nerfacto", device="cpu", refine_poses=True, hash_size=12)
    filled = shared.for_kind("unbounded")
    assert (filled.steps, filled.learning_rate, filled.final_learning_rate) == (15_000, 0.01, 0.001)
    config = nerfacto_config(filled, "unbounded", transparent=False)
    assert (config.background_color, config.disable_scene_contraction, config.log2_hashmap_size) == (
        "last_sample", False, 12,
    )  # fmt: skip
    assert config.camera_optimizer.mode == "SO3xR3"
    assert config.implementation == "torch"
    assert nerfacto_config(filled, "bounded", transparent=True).background_color == "white"
    with pytest.raises(UserError, match=r"background is '0.5,0.5,0.5'; nerfacto knows"):
        nerfacto_config(replace(filled, background="0.5,0.5,0.5"), "bounded", transparent=False)
    monkeypatch.setattr("arf.radiance.fields.backbones.has_tcnn", lambda: True)
    assert nerfacto_config(replace(filled, device="auto"), "unbounded", False).implementation == "tcnn"
    assert FitSettings().for_kind("bounded").backbone == "voxel"
    assert FitSettings().for_kind("bounded", cuda=True).backbone == "nerfacto"


@pytest.mark.skipif(nerfacto.has_tcnn(), reason="tinycudann is here")
def test_a_tcnn_run_without_tinycudann_is_one_clear_line():
    with pytest.raises(UserError, match="tinycudann, which is not installed here") as caught:
        small_nerfacto(implementation="tcnn")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch sums a hash grid's gradient in the order in which its threads come: only one gives the same bits again."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fitted_nerfacto(one_thread, room, tmp_path_factory) -> Run:
    return fit(room, TINY, tmp_path_factory.mktemp("nerfactos"))


def test_a_fit_is_a_run_that_opens_again(fitted_nerfacto):
    info = json.loads((fitted_nerfacto.path / "arf.json").read_text())
    assert (info["method"], info["model"]["backbone"]) == ("arf-nerfacto", "nerfacto")
    assert info["model"]["implementation"] == "torch"
    model, capture = open_photoreal(fitted_nerfacto, CPU)
    assert isinstance(model, NerfactoBackbone)
    assert not model.training
    assert model.space.kind == "bounded"  # the room has a box
    assert torch.equal(model.scene_box.aabb, capture.scene_box)
    first, last = (sum(float(row["rgb"]) for row in fitted_nerfacto.curves()[i : i + 1]) for i in (0, -1))
    assert last < first


def test_a_killed_fit_goes_on_to_the_same_result(fitted_nerfacto, room, tmp_path, monkeypatch):
    from arf.radiance.fit import fit as module

    def dies(state, run):
        saved(state, run)
        raise RuntimeError("the machine went away")

    saved = module.FitState.save
    monkeypatch.setattr(module.FitState, "save", dies)
    with pytest.raises(RuntimeError, match="went away"):
        fit(room, TINY, tmp_path)
    monkeypatch.undo()
    run = Run.open(tmp_path, "fit", finished=False)
    assert run.load("resume")[1]["step"] == 7
    resumed = fit(room, TINY, tmp_path, resume=run)
    whole, _ = fitted_nerfacto.load("model")
    again, _ = resumed.load("model")
    assert whole.keys() == again.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]), name


def test_it_is_repainted_like_any_backbone(fitted_nerfacto, paintings, tmp_path):
    settings = replace(STYLIZE, steps=4, color_resolution=20)
    run = stylize(fitted_nerfacto, paintings[:1], settings, tmp_path)
    assert run.info["model"]["color_resolution"] == 20
    model, capture = open_painted(run, CPU)
    origins, directions = capture.train.rays(2)
    outputs = model(RayBundle(origins, directions, torch.ones(len(origins), 1)))
    assert model.colors.cells == model.backbone.color_shape == (20, 20, 14)
    assert not torch.allclose(outputs["rgb"], outputs["photoreal"], atol=0.02)
    # a training view is what its operator renders: every vertex that it needs is there
    traced = trace(model.backbone, origins, directions, model.config.drop_weight)
    operator = build(traced, *capture.train.size(2), model.colors.cells)
    dense = torch.zeros(operator.vertices, 3).index_copy(0, model.colors.keys, model.colors.theta)
    rendered = operator.apply(dense, model.colors.background).view(-1, 3).clamp(0, 1)
    torch.testing.assert_close(outputs["rgb"], rendered, rtol=0, atol=1e-5)


def test_a_color_grid_for_a_voxel_run_is_refused(fitted, paintings, tmp_path):
    with pytest.raises(UserError, match="--color-resolution is for nerfacto"):
        stylize(fitted, paintings[:1], replace(STYLIZE, color_resolution=64), tmp_path / "out")
    assert not (tmp_path / "out").exists()
