"""Splats from a file as a fit: cameras of every origin see what they should, and paintings need the file no more."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from brought_things import SIDE, cameras, downwards, photograph, thing

from arf.errors import UserError
from arf.metrics import psnr
from arf.radiance.brought.frames import in_file, placement_of
from arf.radiance.brought.scene import bring
from arf.radiance.fields.splats.files.ply import write_ply
from arf.radiance.opening import open_photoreal, open_run
from arf.radiance.records import fit_record
from arf.radiance.settings import SplatSettings

CPU = torch.device("cpu")


def opened(path, **settings):
    return open_photoreal(open_run(path, splats=SplatSettings(**settings)), CPU)


def shows_the_thing(capture) -> bool:
    """Whether the views show, in turn, what the cameras of the test saw."""
    seen = [capture.train.image(i) for i in range(len(capture.train))]
    return all(psnr(a, photograph(b)) > 28 for a, b in zip(seen, cameras(), strict=True))


def test_made_up_cameras_stand_upright_around_it(file):
    field, capture = opened(file, views=8, view_size=64)
    assert (capture.name, capture.kind, len(capture.train), len(capture.held_out)) == ("thing", "bounded", 8, 0)
    assert (field.background == 1).all()
    red = [(capture.train.image(i) - torch.tensor([0.9, 0.1, 0.1])).abs().amax(2) < 0.1 for i in range(8)]
    for found in red:  # the ball on top is in the upper half
        rows = found.any(1).nonzero()
        assert len(rows) > 0
        assert rows.float().mean() < found.shape[0] / 2
    photo = capture.train.photograph(0)
    assert 0.1 < photo.weight.mean() < 0.8
    assert photo.mask is None


def test_up_may_be_said(file):
    _, right = opened(file, views=4, view_size=64)
    _, wrong = opened(file, views=4, view_size=64, up="y")
    assert psnr(right.train.image(0), wrong.train.image(0)) < 20


def test_the_frame_leads_back_to_the_file(file):
    field, capture = opened(file, views=4, view_size=64)
    back = in_file(field.splats, placement_of(capture.transform, capture.scale))
    expected = thing().moved(downwards(), torch.tensor([1.0, 2.0, 3.0]), 2.0)
    torch.testing.assert_close(back.means, expected.means, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back.scales, expected.scales, atol=1e-5, rtol=1e-4)


def test_cameras_of_a_file(file, listed):
    _, capture = opened(file, cameras=listed, view_size=SIDE, backdrop="0.3,0.3,0.3")
    assert shows_the_thing(capture)


def test_cameras_of_a_run_folder(file, listed, tmp_path):
    (tmp_path / "run/point_cloud/iteration_7").mkdir(parents=True)
    shutil.move(file, tmp_path / "run/point_cloud/iteration_7/point_cloud.ply")
    shutil.move(listed, tmp_path / "run/cameras.json")
    _, capture = opened(tmp_path / "run", view_size=SIDE, backdrop="0.3,0.3,0.3")
    assert capture.name == "run"
    assert shows_the_thing(capture)
    assert len(opened(tmp_path / "run", views=3)[1].train) == 3


def test_cameras_of_a_capture_whatever_its_axes(file, photographed):
    """The capture is z up and the file y down, smaller and elsewhere: one turn of all that there are fits."""
    turned = thing().moved(torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]), torch.zeros(3), 1.0)
    write_ply(file, turned)
    _, capture = opened(file, capture=photographed, view_size=SIDE, backdrop="0.3,0.3,0.3")
    seen = [capture.train.image(i) for i in range(len(capture.train))]
    assert len(seen) == 9  # one is held out of the capture's ten
    best = [max(psnr(image, photograph(camera)) for camera in cameras()) for image in seen]
    assert min(best) > 28


def test_a_capture_whose_photographs_lie_elsewhere(file, photographed, tmp_path):
    """As everywhere, they are opened where that was allowed."""
    shutil.move(photographed / "images", tmp_path / "elsewhere")
    transforms = photographed / "transforms.json"
    transforms.write_text(transforms.read_text().replace("images/", "../elsewhere/"))
    write_ply(file, thing())
    settings = SplatSettings(capture=photographed, view_size=SIDE)
    with pytest.raises(UserError, match="--allow-outside"):
        open_run(file, splats=settings)
    assert len(open_run(file, splats=settings, allow_outside=True).info["sight"]["poses"]) == 9


def test_another_capture_is_refused(file, photographed):
    with pytest.raises(UserError, match="photographs do not show these splats"):
        opened(file, capture=photographed)  # of another size, and elsewhere


@pytest.mark.parametrize(("settings", "said"), [
    ({"capture": "a", "cameras": "b"}, "give one of them"),
    ({"views": 1}, "views is 1"),
    ({"view_size": 8}, "view_size is 8"),
    ({"backdrop": "red"}, "backdrop is 'red'; it is auto, or"),
])  # fmt: skip
def test_settings_that_make_no_sense(file, settings, said):
    with pytest.raises(UserError, match=said):
        opened(file, **settings)


def test_cameras_that_see_nothing(file, listed, tmp_path):
    far = thing()
    far.means[:] += 1000
    write_ply(tmp_path / "far.ply", far)
    with pytest.raises(UserError, match="see nothing of the splats"):
        opened(tmp_path / "far.ply", cameras=listed)


def test_one_camera_is_too_few(file, listed):
    listed.write_text(json.dumps(json.loads(listed.read_text())[:1]))
    with pytest.raises(UserError, match=f"^{listed} has one camera"):
        opened(file, cameras=listed)


@pytest.mark.parametrize(("name", "scene"), [
    ("...ply", "splats"), (".compressed.ply", "splats"), ("a\\b\n.ply", "a_b_"), ("a.b.compressed.ply", "a.b"),
])  # fmt: skip
def test_scenes_have_names_of_folders(name, scene, file):
    assert bring(file.rename(file.with_name(name)), SplatSettings(views=2, view_size=32)).info["scene"] == scene


def test_a_run_folder_named_by_dots_has_its_own_name(file, tmp_path, monkeypatch):
    place = tmp_path / "run/point_cloud/iteration_7"
    place.mkdir(parents=True)
    shutil.move(file, place / "point_cloud.ply")
    (tmp_path / "run/inside").mkdir()
    monkeypatch.chdir(tmp_path / "run/inside")
    run = open_run("..", splats=SplatSettings(views=2, view_size=32))
    assert (run.info["scene"], run.folder, run.files) == (
        "run",
        Path(".."),
        [Path("../point_cloud/iteration_7/point_cloud.ply")],
    )


def test_what_is_made_of_a_file_goes_into_outputs(file):
    run = bring(file, SplatSettings(views=2, view_size=32))
    assert (run.folder, run.files) == (Path("outputs/thing"), [file])


def test_a_folder_of_runs_may_have_a_files_name(fitted, tmp_path):
    """As after arf stylize --output painted.ply."""
    shutil.copytree(fitted.path, tmp_path / "painted.ply" / "a" / "arf" / "b")
    assert open_run(tmp_path / "painted.ply").info == fitted.info


def test_flags_for_splats_are_for_splats(fitted):
    with pytest.raises(UserError, match="has cameras of its own"):
        open_run(fitted.path, splats=SplatSettings(views=3))


def test_what_was_painted_is_what_is_gone_on_with(file):
    run = bring(file, SplatSettings(views=3, view_size=48))
    record = fit_record(run)
    again = bring(file, SplatSettings(), record)
    assert again.info["sight"] == run.info["sight"]
    with file.open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(UserError, match="has changed since"):
        bring(file, SplatSettings(), record)


def test_nothing_is_said_of_sound_files(file, caplog):
    with caplog.at_level(logging.WARNING):
        opened(file, views=3, view_size=48)
    assert not [record for record in caplog.records if "finite" in record.message]
