"""Point clouds: points lie on the surface that is there, in the colours of the rendering, in the frame asked for."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from captures import load, ring, write_transforms
from voxels import BOX, around

from arf import cli
from arf.errors import UserError
from arf.radiance.fields.rays.samples import Samples, median_depth, ray_starts
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.voxel.field import VoxelConfig, VoxelField
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.settings import ExportSettings
from arf.radiance.share import export as sharing
from arf.radiance.share.pointcloud import (
    PointCloud,
    edges,
    shrunk,
    surface_of,
    thin,
    to_capture,
    within,
    write_ply,
)

CPU = torch.device("cpu")


def export(run, settings, output, progress=lambda *_: None) -> int:
    """As a point cloud."""
    return sharing.export([run], settings, output, lambda _, *step: progress(*step))["points"]


CENTRE, RADIUS, FLOOR = torch.tensor([0.1, -0.1, -0.1]), 0.4, -0.8
RESOLUTION = 40
VOXEL = 2 / RESOLUTION
CAMERAS = around(4, width=60, height=48)
CAMERAS = replace(CAMERAS, fx=3 * CAMERAS.fx, fy=3 * CAMERAS.fy)


def distance(points: torch.Tensor) -> torch.Tensor:
    """Signed distance to a ball that hovers over a floor."""
    return torch.minimum((points - CENTRE).norm(dim=-1) - RADIUS, points[..., 2] - FLOOR)


def voxel_field(background: str) -> VoxelField:
    return VoxelField(
        VoxelConfig(resolutions=(RESOLUTION,), stages=(), background=background), Space("bounded", BOX)
    ).eval()


@pytest.fixture(scope="module")
def solid() -> VoxelField:
    """Ball and floor, opaque, each point in the colour that is its place in the box."""
    model = voxel_field("0.2,0.5,0.9")
    place = model.voxels.grid.vertices / torch.tensor(model.voxels.grid.shape)
    with torch.no_grad():
        away = distance(BOX[0] + place * (BOX[1] - BOX[0]))
        model.voxels.table[:, 0] = (-away / VOXEL).clamp(-1, 1)
        model.voxels.table[:, 1:] = place
    return model.eval()


# --- depth


def packed(rays: list[list[tuple[float, float]]]) -> tuple[Samples, torch.Tensor]:
    """Samples of (depth, weight) pairs."""
    ray = torch.tensor([i for i, row in enumerate(rays) for _ in row], dtype=torch.int64)
    depth, weight = torch.tensor([pair for row in rays for pair in row]).view(-1, 2).unbind(1)
    none = torch.zeros(len(ray), dtype=torch.int32)
    return Samples(ray, ray_starts(ray, len(rays)), none, torch.zeros(len(ray), 3), depth, depth), weight


def test_median_depth_by_hand():
    rays = [
        [(1.0, 0.1), (2.0, 0.4), (3.0, 0.1)],  # 0.3 is half: half of the second sample, which spans 1.5 to 2.5
        [],
        [(4.0, 0.5)],  # nothing beside it says how long it is
        [(1.0, 0.2), (1.5, 0.2), (9.0, 0.4)],  # exactly at the second sample's end, 0.25 behind it
        [(1.0, 0.0), (2.0, 0.0)],
        [(5.0, 0.75), (6.0, 0.25)],  # 0.5 is two thirds of the way from 4.5 to 5.5
    ]
    found, at = median_depth(*packed(rays))
    torch.testing.assert_close(found, torch.tensor([2.0, 1e6, 4.0, 1.75, 1e6, 4.5 + 2 / 3]))
    assert at[[0, 2, 3, 5]].tolist() == [1, 3, 5, 9]
    assert median_depth(*packed([[], []]))[0].tolist() == [1e6, 1e6]


def test_median_depth_is_that_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    rays = []
    for count in (1, 30, 5, 2, 17):
        depth = torch.rand(count, generator=generator).cumsum(0) + 0.5
        rays.append(list(zip(depth.tolist(), torch.rand(count, generator=generator).tolist(), strict=True)))
    for row, found in zip(rays, median_depth(*packed(rays))[0].tolist(), strict=True):
        depth, weight = (np.array(column) for column in zip(*row, strict=True))
        i = int(np.searchsorted(weight.cumsum(), weight.sum() / 2))
        gaps = [abs(depth[j] - depth[i]) for j in (i - 1, i + 1) if 0 <= j < len(row)]
        passed = (weight.sum() / 2 - weight[:i].sum()) / weight[i]
        assert found == pytest.approx(depth[i] + (passed - 0.5) * min(gaps, default=0), rel=1e-5)


# --- surfaces


@pytest.mark.parametrize("i", range(4))
def test_points_lie_on_the_surface(solid, i):
    cloud = surface_of(solid, CAMERAS[i])
    off = distance(cloud.points)
    assert off.abs().max() < VOXEL
    assert off.abs().median() < 0.3 * VOXEL
    ball = (cloud.points - CENTRE).norm(dim=1) < RADIUS + VOXEL
    assert ball.sum() > 150
    assert (~ball).sum() > 150
    outwards = torch.nn.functional.normalize(cloud.points[ball] - CENTRE, dim=1)
    assert ((outwards * cloud.normals[ball]).sum(1) > 0.9).double().mean() > 0.9
    assert (cloud.normals[~ball, 2] > 0.95).double().mean() > 0.9  # towards the cameras, which are above
    place = ((cloud.points - BOX[0]) / (BOX[1] - BOX[0])).float()
    assert ((cloud.colors - place).abs().amax(1) < 1.5 * VOXEL).double().mean() > 0.99  # outlines are a little mixed


def test_colours_are_those_of_the_rendering(solid):
    shown, camera = picture(solid, None, CAMERAS[1]), CAMERAS[1]
    cloud = surface_of(solid, camera)
    pose = camera.pose.double()
    x, y, z = ((cloud.points - pose[:, 3]) @ pose[:, :3]).unbind(1)
    column = camera.cx - camera.fx * x / z - 0.5
    row = camera.cy + camera.fy * y / z - 0.5
    torch.testing.assert_close(column, column.round(), atol=1e-3, rtol=0)  # points project onto pixel centres
    seen = shown[row.round().long(), column.round().long()]
    torch.testing.assert_close(cloud.colors, seen, atol=2e-3, rtol=0)


def test_nothing_is_made_of_air():
    thin_air = voxel_field("0,0,0")
    with torch.no_grad():
        thin_air.voxels.table[:, 0] = -0.5  # a haze that is half opaque in all
    assert len(surface_of(thin_air, CAMERAS[0])) == 0


def test_a_thin_veil_counts_as_much_as_is_asked_for():
    veil = voxel_field("0,0,0")
    height = BOX[0, 2] + VOXEL * veil.voxels.grid.vertices[:, 2]
    with torch.no_grad():
        veil.voxels.table[:, 0] = torch.where((height - FLOOR).abs() < 1.5 * VOXEL, -0.25, -1.0)
    whole, half = (surface_of(veil, CAMERAS[0], opaque) for opaque in (0.2, 0.5))
    assert 0.05 * len(whole) < len(half) < 0.7 * len(whole)
    assert (whole.points[:, 2] - FLOOR).abs().max() < VOXEL
    assert len(surface_of(veil, CAMERAS[0], 0.95)) == 0


def test_a_slanted_plane_has_no_edges_but_a_step_has():
    row, column = torch.meshgrid(torch.arange(12), torch.arange(20), indexing="ij")
    plane = 1 / (0.2 + 0.04 * column + 0.01 * row)  # inverse depth is linear: depths from 5 to 1
    assert not edges(plane)[1:-1, 1:-1].any()
    assert edges(plane)[[0, -1]].all()
    assert edges(plane)[:, [0, -1]].all()
    step = torch.where(column < 10, plane, 1.2 * plane)
    assert edges(step)[1:-1].nonzero()[:, 1].unique().tolist() == [0, 9, 10, 19]
    assert edges(torch.where(column < 10, plane, 1e6))[1:-1, 9].all()  # beside nothing


def test_views_are_shrunk_to_a_number_of_pixels():
    small = shrunk(CAMERAS, 4 * 30 * 24)
    assert [small.size(i) for i in range(4)] == [(24, 30)] * 4
    assert CAMERAS.size(0) == (48, 60)
    torch.testing.assert_close(small.fx, CAMERAS.fx / 2)
    assert shrunk(CAMERAS, 10**9).size(0) == (48, 60)


# --- thinning


def random_cloud(count: int) -> PointCloud:
    generator = torch.Generator().manual_seed(1)
    points, normals, colors = (torch.rand(count, 3, generator=generator) for _ in range(3))
    points = BOX[0] + points.double() * (BOX[1] - BOX[0])
    return PointCloud(points, torch.nn.functional.normalize(normals, dim=1), colors)


def test_points_of_a_cell_become_their_mean():
    cloud = random_cloud(300)
    found = thin(cloud, Space("bounded", BOX), limit=10**6, finest=4)
    cells: dict[tuple, list[int]] = {}
    for i, point in enumerate(cloud.points.numpy()):  # 4 cells of 0.5 along the longest sides, 3 along the height
        cells.setdefault(tuple(((point - BOX[0].numpy()) // 0.5).astype(int)), []).append(i)
    assert len(found) == len(cells) == 4 * 4 * 3
    for name in ("points", "colors"):
        wanted = torch.stack([getattr(cloud, name)[rows].mean(0) for rows in cells.values()])
        order = [torch.as_tensor(np.lexsort(part.numpy().T)) for part in (wanted, getattr(found, name))]
        torch.testing.assert_close(getattr(found, name)[order[1]], wanted[order[0]])
    torch.testing.assert_close(found.normals.norm(dim=1), torch.ones(len(found)))


@pytest.mark.parametrize("limit", [1, 2, 10, 499, 4999, 5001])
def test_there_are_never_more_points_than_asked_for(limit):
    found = thin(random_cloud(5000), Space("bounded", BOX), limit, finest=400)
    assert 0.2 * limit <= len(found) <= limit


def test_cells_grow_with_the_distance_where_space_is_contracted():
    places = torch.rand(2, 2000, 3, generator=torch.Generator().manual_seed(0)).double()
    near, far = places[0] * 0.5, 5 + places[1] * 0.5
    parts = [thin(PointCloud(p, p.float(), p.float()), Space("unbounded"), 10**6, 64) for p in (near, far)]
    assert len(parts[0]) > 8 * len(parts[1])


# --- frames and limits


def test_the_captures_frame_is_that_of_its_files(tmp_path):
    turned = [[1, 0, 0, 0.5], [0, 0, 1, 0], [0, -1, 0, 2]]  # as ns-process-data notes what it did to COLMAP's frame
    poses = ring(6)
    capture = load(write_transforms(tmp_path, poses, applied_transform=turned))
    cameras = capture.train.cameras.poses.double()
    cloud = PointCloud(cameras[:, :, 3], cameras[:, :, 2].float(), torch.zeros(len(cameras), 3))
    found = to_capture(cloud, capture)
    kept = poses[[int(p.stem) for p in capture.train.files]].double()
    rotation, shift = torch.tensor(turned).double()[:, :3], torch.tensor(turned).double()[:, 3]
    torch.testing.assert_close(found.points, (kept[:, :, 3] - shift) @ rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.normals.double(), kept[:, :, 2] @ rotation, atol=1e-5, rtol=0)


def test_what_lies_outside_the_scene_or_at_the_horizon_goes(tmp_path):
    capture = load(write_transforms(tmp_path, ring(4), arf_scene_box=[[-2, -2, -1], [2, 2, 1]]))  # parsed: halved
    points = torch.tensor([[0.0, 0, 0], [0.99, -0.99, 0.49], [1.01, 0, 0], [0, 0, -0.51], [0, 0, -9], [0, 0, -11]])
    assert within(points, capture).tolist() == [True, True, False, False, False, False]
    assert within(points, replace(capture, kind="unbounded")).tolist() == [True] * 5 + [False]


# --- files


def read_by_hand(path: Path) -> np.ndarray:
    """The vertices of a binary little-endian PLY."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    fields = [line.split()[1:] for line in lines if line.startswith("property") and "list" not in line]
    return np.frombuffer(body, [(name, {"float": "<f4", "uchar": "u1"}[kind]) for kind, name in fields], count)


def columns(rows: np.ndarray, *names: str) -> np.ndarray:
    return np.stack([rows[name] for name in names], 1)


def test_a_ply_holds_what_was_written(tmp_path):
    cloud = random_cloud(50)
    write_ply(tmp_path / "cloud.ply", cloud)
    rows = read_by_hand(tmp_path / "cloud.ply")
    np.testing.assert_allclose(columns(rows, "x", "y", "z"), cloud.points, atol=1e-7)
    np.testing.assert_allclose(columns(rows, "nx", "ny", "nz"), cloud.normals, atol=1e-7)
    np.testing.assert_array_equal(columns(rows, "red", "green", "blue"), (cloud.colors * 255).round())
    again = trimesh.load(tmp_path / "cloud.ply")
    np.testing.assert_allclose(again.vertices, cloud.points, atol=1e-7)
    np.testing.assert_array_equal(again.colors[:, :3], (cloud.colors * 255).round())


def test_open3d_reads_it(tmp_path):
    open3d = pytest.importorskip("open3d", exc_type=ImportError)
    cloud = random_cloud(50)
    write_ply(tmp_path / "cloud.ply", cloud)
    again = open3d.io.read_point_cloud(str(tmp_path / "cloud.ply"))
    np.testing.assert_allclose(np.asarray(again.points), cloud.points, atol=1e-7)
    np.testing.assert_allclose(np.asarray(again.normals), cloud.normals, atol=1e-7)
    np.testing.assert_allclose(np.asarray(again.colors), cloud.colors, atol=0.5 / 255 + 1e-6)


def test_a_photoreal_run_in_both_frames(fitted, tmp_path):
    calls = []
    written = export(fitted, ExportSettings(device="cpu"), tmp_path / "a" / "cloud.ply", lambda *c: calls.append(c))
    assert calls == [(i + 1, 18) for i in range(18)]
    rows = read_by_hand(tmp_path / "a" / "cloud.ply")
    assert len(rows) == written > 1000
    export(fitted, ExportSettings(device="cpu", frame="scene"), tmp_path / "scene.ply")
    inside = columns(read_by_hand(tmp_path / "scene.ply"), "x", "y", "z")
    _, capture = open_photoreal(fitted, CPU)
    there = inside / capture.scale - capture.transform[:, 3].numpy()  # a bounded capture is not turned
    np.testing.assert_allclose(columns(rows, "x", "y", "z"), there, atol=1e-5)
    assert (np.abs(inside) <= 1).all()
    few = export(fitted, ExportSettings(device="cpu", points=300), tmp_path / "few.ply")
    assert 60 < few <= 300


def test_points_outside_the_scene_are_not_exported(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("arf.radiance.share.pointcloud.within", lambda points, _: points[:, 2] > 0.1)
    export(fitted, ExportSettings(device="cpu", frame="scene"), tmp_path / "cloud.ply")
    assert (read_by_hand(tmp_path / "cloud.ply")["z"] > 0.1).all()


def test_a_stylized_run_is_painted_as_much_as_asked_for(fitted, stylized, tmp_path):
    def painted(run, **options) -> np.ndarray:
        export(run, ExportSettings(device="cpu", points=3000, **options), tmp_path / "cloud.ply")
        return columns(read_by_hand(tmp_path / "cloud.ply"), "red", "green", "blue").astype(float)

    photoreal, none, half, full = painted(fitted), *(painted(stylized, strength=s) for s in (0, 0.5, 1))
    np.testing.assert_array_equal(none, photoreal)
    assert np.abs(full - photoreal).mean() > 5
    assert np.abs(half - (full + photoreal) / 2).mean() < 1
    chroma = np.array([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # I and Q of YIQ
    kept = painted(stylized, preserve_color=True)
    assert np.abs((kept - photoreal) @ chroma.T).mean() < 0.2 * np.abs((full - photoreal) @ chroma.T).mean()


# --- refusals


@pytest.mark.parametrize(
    ("options", "name", "said"),
    [
        ({}, "cloud.obj", r"cloud\.obj: its name must end in \.ply, \.splat, \.spz, \.html"),
        ({"format": "points"}, "cloud.obj", r"cloud\.obj: the name of a point cloud must end in \.ply"),
        ({"strength": 0.5}, "cloud.ply", "is photoreal, it has no style"),
        ({"preserve_color": True}, "cloud.ply", "is photoreal, it has no style"),
        ({"strength": float("nan")}, "cloud.ply", "strength is nan"),
        ({"points": 0}, "cloud.ply", "points is 0"),
        ({"device": "tpu"}, "cloud.ply", "cpu, cuda or auto"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(fitted, tmp_path, options, name, said):
    with pytest.raises(UserError, match=said) as error:
        export(fitted, ExportSettings(**{"device": "cpu", **options}), tmp_path / name)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_costs_no_tracing(fitted, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("arf.radiance.share.pointcloud.surface_of", lambda *_: pytest.fail("traced"))
    for name, said in (("file/cloud.ply", "File exists"), (f"{'long' * 61}.ply", "File name too long")):
        with pytest.raises(UserError, match=said):
            export(fitted, ExportSettings(device="cpu"), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_transparent_photographs_ask_for_more_weight(fitted, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("arf.radiance.capture.views.Views.transparent", property(lambda _: bool(asked)))
    monkeypatch.setattr("arf.radiance.share.pointcloud.surface_of", lambda *a: asked.append(a[2]) or random_cloud(5))
    for _ in range(2):
        export(fitted, ExportSettings(device="cpu"), tmp_path / "cloud.ply")
    assert asked == [0.2] * 18 + [0.5] * 18


def test_an_empty_scene_has_no_points(fitted, tmp_path, monkeypatch):
    def emptied(*_):
        field, capture = open_photoreal(fitted, CPU)
        with torch.no_grad():
            field.voxels.table[:, 0] = -1
        return field, None, capture

    monkeypatch.setattr("arf.radiance.share.pointcloud.open_model", emptied)
    with pytest.raises(UserError, match="shows no surface"):
        export(fitted, ExportSettings(device="cpu"), tmp_path / "cloud.ply")
    assert not list(tmp_path.iterdir())


def refused(capsys, *arguments) -> str:
    code, (out, err) = cli.main([str(a) for a in arguments]), capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("arf: ")
    assert err.count("\n") == 1
    return err


def test_the_command(stylized, tmp_path, capsys):
    preset = tmp_path / "p.yaml"
    preset.write_text("export:\n  points: 500\n  frame: scene\n")
    file = tmp_path / "cloud.ply"
    arguments = ["export", stylized.path, "--config", preset, "--strength", 0.5, "--device", "cpu", "--output", file]
    assert cli.main([*map(str, arguments), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"file": str(file), "format": "points", "points": len(read_by_hand(file))}
    assert result["points"] <= 500
    assert "no run" in refused(capsys, "export", tmp_path / "none")
    assert "must end in .ply" in refused(capsys, "export", stylized.path, "--output", tmp_path)
    (tmp_path / "folder.ply").mkdir()
    assert "it is a folder" in refused(capsys, "export", stylized.path, "--output", tmp_path / "folder.ply")
    assert "strength is 1.5" in refused(capsys, "export", stylized.path, "--strength", 1.5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(stylized, tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "you may write to" in refused(capsys, "export", stylized.path, "--output", tmp_path / "cloud.ply")


@pytest.mark.cuda
def test_a_gpu_exports_the_same(fitted, tmp_path):
    for device in ("cpu", "cuda"):
        export(fitted, ExportSettings(device=device, points=3000), tmp_path / f"{device}.ply")
    clouds = [read_by_hand(tmp_path / f"{device}.ply") for device in ("cpu", "cuda")]
    assert abs(len(clouds[0]) - len(clouds[1])) < 0.01 * len(clouds[0])
    centres = [columns(rows, "x", "y", "z", "red", "green", "blue").astype(float).mean(0) for rows in clouds]
    np.testing.assert_allclose(*centres, rtol=0.01, atol=0.01)


def test_a_stylized_model_is_opened_with_its_colours(stylized):
    painted, capture = open_painted(stylized, CPU)
    camera = capture.train.cameras[0]
    cloud = surface_of(painted.field, camera, look=painted.look)
    shown = picture(painted.field, painted.look, camera)[..., 3:].reshape(-1, 3)
    apart = torch.cdist(cloud.colors, shown).amin(1)
    assert len(cloud) > 20
    assert apart.max() < 5e-3
