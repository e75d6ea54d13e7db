"""Runs of plain `ns-train nerfacto`: what is read of one."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from damage import CHECKPOINT, Trap, refusal, with_checkpoint, with_config, with_pickle
from nerfstudio.configs.dataparser_configs import all_dataparsers
from nerfstudio.data.dataparsers.base_dataparser import DataParser

from arf.errors import UserError
from arf.nerfstudio.models.nerfacto import NerfactoFieldConfig
from arf.nerfstudio.runs import captures
from arf.nerfstudio.runs.captures import READ, load_foreign, parser_config, recorded_frame
from arf.nerfstudio.runs.reading import read_nerfstudio_run
from arf.radiance import opening
from arf.radiance.fields import kinds

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using a non-tuple sequence", "ignore:Converting a tensor", "ignore:This DataLoader will create"
)


# --- what is read -------------------------------------------------------------------------------------------------


def test_the_state_is_the_models_own_without_its_metrics(stock):
    path, _, model = stock
    found = read_nerfstudio_run(path)
    wanted = {k: v for k, v in model.state_dict().items() if not k.startswith("lpips.")}
    assert len(wanted) < len(model.state_dict())
    assert found.state.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found.state[name], value), name
    assert (found.path, found.method, found.scene, found.step) == (path, "nerfacto", "shed", 1)


def test_torch_refuses_the_checkpoint_before_and_after_we_read_it(stock):
    read_nerfstudio_run(stock[0])
    with pytest.raises(pickle.UnpicklingError, match="numpy"):
        torch.load(stock[0] / CHECKPOINT, weights_only=True)


def test_the_model_is_the_configurations_own_but_for_what_it_was_made_with(stock):
    path, config, _ = stock
    values = read_nerfstudio_run(path).model
    assert config.pipeline.model.implementation == "tcnn"  # asked for, but nerfstudio had no tinycudann
    assert values["implementation"] == "torch"
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    own = {name: value for name, value in values.items() if name != "backbone"}
    ours, theirs = vars(NerfactoFieldConfig.of(own)), vars(config.pipeline.model)
    for name in theirs.keys() - {"_target", "implementation"}:
        assert ours[name] == theirs[name], name


def test_the_backbone_renders_what_the_model_did(stock):
    path, config, model = stock
    found = read_nerfstudio_run(path)
    capture = load_foreign(found.parser)
    field = kinds.build(found.model, kinds.Place.of(capture), torch.device("cpu"))
    field.load_state_dict(found.state)
    model.proposal_sampler.set_anneal(1.0)  # of training; a model that is loaded has none
    camera = config.pipeline.datamanager.dataparser.setup().get_dataparser_outputs("train").cameras[:1]
    theirs = model.eval().get_outputs_for_camera(camera)
    shot = field.shoot(capture.train.cameras[0])
    assert shot.color.std() > 0
    torch.testing.assert_close(shot.color, theirs["rgb"].flatten(0, 1), rtol=0, atol=1e-5)  # through its own rays
    torch.testing.assert_close(field.eval().get_outputs_for_camera(camera)["rgb"], theirs["rgb"], rtol=0, atol=0)


def test_the_parser_gives_the_views_of_the_run(stock):
    path, config, _ = stock
    values = read_nerfstudio_run(path).parser
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["name"] == "nerfstudio-data"
    assert values["data"] == str(config.data)
    theirs = replace(config.pipeline.datamanager.dataparser, data=config.data)
    assert parser_config(values) == theirs
    capture = load_foreign(values)
    for split, views in (("train", capture.train), ("test", capture.held_out)):
        wanted = theirs.setup().get_dataparser_outputs(split)
        assert views.files == wanted.image_filenames
        torch.testing.assert_close(views.cameras.poses, wanted.cameras.camera_to_worlds, rtol=0, atol=1e-6)
        assert torch.equal(views.cameras.fx, wanted.cameras.fx[:, 0])
        torch.testing.assert_close(capture.transform.float(), wanted.dataparser_transform, rtol=0, atol=1e-6)
        assert capture.scale == pytest.approx(wanted.dataparser_scale, rel=1e-6)


@pytest.fixture
def tripwire(monkeypatch) -> None:
    """No dataparser may be made, and no pickle of numpy's loaded."""

    def trip(*_: object, **__: object) -> None:
        raise AssertionError("a dataparser ran")

    monkeypatch.setattr(DataParser, "__init__", trip)
    for parser in all_dataparsers.values():
        monkeypatch.setattr(type(parser), "setup", trip)
    monkeypatch.setattr("numpy.load", trip)


def with_parser(run: Path, parser: object) -> None:
    with_config(run, lambda config: vars(config.pipeline.datamanager).update(dataparser=parser, data=None))
    with_config(run, lambda config: vars(config).update(data=None))


@pytest.mark.parametrize("name", all_dataparsers)
def test_every_dataparser_comes_back_as_it_was(name, run, tripwire):
    """Or it is refused: only those are known of which arf reads the capture itself."""
    parser = replace(all_dataparsers[name], data=run)  # any folder that is there
    with_parser(run, parser)
    if name not in READ:
        said = refusal(run)
        assert said.startswith(f"the dataparser of {run / 'config.yml'} is '{type(parser).__module__}.")
        assert "which arf does not read; it reads arf-capture, nerfstudio-data, blender-data, colmap" in said
        return
    values = read_nerfstudio_run(run).parser
    assert values["name"] == name
    assert parser_config(json.loads(json.dumps(values, allow_nan=False))) == parser


def test_a_strangers_minimal_parser_runs_nothing(run, tmp_path, tripwire):
    """J1: it loads pickles."""
    (tmp_path / "data").mkdir()
    trap = tmp_path / "data" / "train.npz"
    trap.write_bytes(pickle.dumps(Trap(f"touch {tmp_path / 'mark'}")))
    with_parser(run, replace(all_dataparsers["minimal-parser"], data=tmp_path / "data"))
    assert "which arf does not read" in refusal(run)
    with pytest.raises(UserError, match="is 'minimal-parser', which arf does not read"):
        load_foreign({"name": "minimal-parser", "data": str(tmp_path / "data")})
    assert not (tmp_path / "mark").exists()


def test_no_dataparser_runs_when_a_run_is_opened(stock, tripwire):
    capture = load_foreign(read_nerfstudio_run(stock[0]).parser)
    assert len(capture.train) == 6


def test_a_relative_capture_is_found_from_where_we_are(stock, run, monkeypatch):
    data = stock[1].data
    with_config(run, lambda config: vars(config.pipeline.datamanager).update(data=Path("shed")))
    monkeypatch.chdir(data.parent)
    assert read_nerfstudio_run(run).parser["data"] == str(data)
    monkeypatch.chdir(run)
    assert f"{run / 'shed'}, which is not there; put the capture back there, or start arf in" in refusal(run)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numbers_of_either_numpy_are_let_through(module, stock, run):
    spelled = f"c{module}\nscalar\n".encode()
    others = (b"cnumpy.core.multiarray\nscalar\n", b"cnumpy._core.multiarray\nscalar\n")

    def respell(data: bytes) -> bytes:
        assert sum(data.count(other) for other in others) == 1
        for other in others:
            data = data.replace(other, spelled)
        return data

    with_pickle(run, respell)
    found, wanted = (read_nerfstudio_run(path).state for path in (run, stock[0]))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_newest_checkpoint_counts_by_its_number(run):
    folder = run / "nerfstudio_models"
    with_checkpoint(run, lambda state: state.update(step=2000000000))
    (run / CHECKPOINT).rename(folder / "step-2000000000.ckpt")  # sorts before step-3 as text
    (folder / "step-300000000.ckpt").write_bytes(b"not to be opened")
    (folder / "step-last.ckpt").write_bytes(b"nor this")
    assert read_nerfstudio_run(run).step == 2000000000


def test_a_checkpoint_of_several_gpus_has_another_prefix(stock, run):
    def distribute(state):
        state["pipeline"] = {k.replace("_model.", "_model.module."): v for k, v in state["pipeline"].items()}

    with_checkpoint(run, distribute)
    assert read_nerfstudio_run(run).state.keys() == read_nerfstudio_run(stock[0]).state.keys()


def test_a_name_of_an_experiment_leads_nowhere(run):
    with_config(run, lambda config: vars(config).update(experiment_name="../../etc", method_name=".."))
    found = read_nerfstudio_run(run)
    assert (found.scene, found.method) == ("etc", "unnamed")


def test_what_is_a_run(stock, run):
    assert opening._is_theirs(stock[0])
    assert opening._is_theirs(run)
    assert not opening._is_theirs(run.parent)
    (run / "arf.json").write_text("{}")
    assert not opening._is_theirs(run)  # ours, though nerfstudio can open it
    (run / "arf.json").unlink()
    assert opening._is_theirs(run)
    (run / CHECKPOINT).unlink()
    assert not opening._is_theirs(run)


# --- the frame ----------------------------------------------------------------------------------------------------


def frame_of(stock):
    capture = load_foreign(read_nerfstudio_run(stock[0]).parser)
    return capture.transform, capture.scale


def check_frame(run: Path, *frame) -> None:
    captures._check_frame(recorded_frame(run), frame, run)


def test_an_unchanged_capture_has_the_frame_of_the_run(stock, run):
    transform, scale = frame_of(stock)
    check_frame(stock[0], transform, scale)
    check_frame(stock[0], transform * (1 + 1e-6), scale * (1 + 1e-6))  # another machine's rounding
    (run / "dataparser_transforms.json").unlink()
    check_frame(run, transform * 2, scale * 2)  # nothing to compare with


@pytest.mark.parametrize("part", ["rotation", "translation", "scale"])
def test_a_changed_capture_is_refused(part, stock):
    transform, scale = frame_of(stock)
    transform = transform.clone()
    if part == "rotation":
        transform[0, 1] += 1e-3
    elif part == "translation":
        transform[1, 3] += 1e-3 / scale
    else:
        scale *= 1.001
    with pytest.raises(UserError, match=r"has changed since .* restore the capture, or train again"):
        check_frame(stock[0], transform, scale)


@pytest.mark.parametrize(
    "text",
    [
        '{"transform": [[1]], "scale": 1}', '{"scale": 1}', "[]", "{", '{"transform": "x"}', "3", "null",
        '{"transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, NaN]], "scale": 1}',
        '{"transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "scale": 0}',
    ],
)  # fmt: skip
def test_a_damaged_frame_is_refused(text, run):
    (run / "dataparser_transforms.json").write_text(text)
    with pytest.raises(UserError, match=r"dataparser_transforms\.json"):
        check_frame(run, torch.eye(4)[:3], 1.0)
