"""Opening runs of ours: by kind and age, what they show, and those of an older arf."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from tiny import STYLIZE

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.jobs.tensors import save_tensors
from arf.radiance.opening import open_model, open_painted, open_photoreal, open_run

CPU = torch.device("cpu")


def test_a_run_of_either_kind_shows_its_field(fitted, stylized):
    field, painted, capture = open_model(fitted, CPU)
    assert (field.name, painted, capture.name) == ("voxel", None, "room")
    field, painted, _ = open_model(stylized, CPU)
    assert painted.field is field
    assert len(painted.look.theta) == field.count
    assert painted.drop == STYLIZE.dropped(0)


def test_a_painting_of_arf_0_1_shows_what_it_showed(fitted, stylized, tmp_path):
    """It named the vertices that some view saw by their numbers in the grid; all others were the photoreal ones,
    recoloured."""
    painted, capture = open_painted(stylized, CPU)
    field, look = painted.field, painted.look
    grid, points = field.voxels.grid, [n + 1 for n in field.shape]
    keys = (grid.vertices.long() * torch.tensor([points[1] * points[2], points[2], 1])).sum(1)
    unseen = torch.arange(len(keys)) % 5 == 0
    wanted = torch.where(unseen[:, None], look.recolor.apply(field.colors), look.theta)
    old = {f"backbone.{k.replace('voxels.', 'field.')}": v for k, v in field.state_dict().items()}
    empty = torch.empty(0)
    old |= {"backbone.device_indicator_param": empty, "device_indicator_param": empty.clone()}
    old |= {
        "colors.shape": torch.tensor(field.shape),
        "colors.keys": keys[~unseen],
        "colors.theta": look.theta[~unseen],
    }
    old |= {"colors.matrix": look.recolor.matrix.float(), "colors.bias": look.recolor.bias.float()}
    old |= {"colors.background": look.background}
    copy = shutil.copytree(stylized.path, tmp_path / "old")
    save_tensors(copy / "model.safetensors", old)
    info = json.loads((copy / "arf.json").read_text())
    info["model"] |= {"enable_collider": False, "collider_params": None, "eval_num_rays_per_chunk": 16384}
    del info["fit"]["capture"]
    for name in ("model", "allow_outside"):
        del info["fit"]["settings"][name]
    (copy / "arf.json").write_text(json.dumps(info))
    again, _ = open_painted(Run.open(copy), CPU)
    torch.testing.assert_close(again.look.theta, wanted, rtol=0, atol=1e-6)
    traced = [p.field.trace(capture.train.cameras[0]) for p in (painted, again)]
    assert torch.equal(traced[0].color, traced[1].color)


def test_weights_of_another_configuration_are_one_line(fitted, tmp_path):
    copy = shutil.copytree(fitted.path, tmp_path / "copy")
    tensors, _ = fitted.load("model")
    save_tensors(copy / "model.safetensors", {**tensors, "voxels.table": tensors["voxels.table"][:-1]})
    with pytest.raises(UserError, match="its weights do not fit its configuration") as caught:
        open_photoreal(Run.open(copy), CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t[:, :2], lambda t: t.flatten()])
def test_colours_of_other_columns_are_one_line(change, stylized, tmp_path):
    copy = shutil.copytree(stylized.path, tmp_path / "copy")
    tensors, _ = stylized.load("model")
    save_tensors(copy / "model.safetensors", {**tensors, "look.theta": change(tensors["look.theta"])})
    with pytest.raises(UserError, match=r"look.theta has shape .*; make the run again"):
        open_painted(Run.open(copy), CPU)


def test_a_folder_of_paintings_has_no_fit(stylized, tmp_path):
    shutil.copytree(stylized.path, tmp_path / "room" / "arf" / "2026-01-01_000000")
    with pytest.raises(UserError, match="a fit run is needed"):
        open_run(tmp_path, "fit")


def test_pictures_outside_are_asked_for_by_whoever_opens_the_run(room, tmp_path):
    """J28: what a stranger's run says of that does not count."""
    import dataclasses

    from tiny import FIT

    from arf.radiance.fit.loop import fit

    shutil.copytree(room, tmp_path / "far")
    near = tmp_path / "near"
    near.mkdir()
    meta = json.loads((room / "transforms.json").read_text())
    for frame in meta["frames"]:
        frame["file_path"] = f"../far/{frame['file_path']}"
    for split in ("train", "test"):
        if f"{split}_filenames" in meta:
            meta[f"{split}_filenames"] = [f"../far/{name}" for name in meta[f"{split}_filenames"]]
    (near / "transforms.json").write_text(json.dumps(meta))
    short = dataclasses.replace(FIT, steps=5, stages=(0.9,))
    with pytest.raises(UserError, match="--allow-outside"):
        fit(near, short, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    run = fit(near, dataclasses.replace(short, allow_outside=True), tmp_path / "out")
    with pytest.raises(UserError, match="--allow-outside"):
        open_photoreal(run, CPU)
    assert len(open_photoreal(run, CPU, allow_outside=True)[1].train) == 18
