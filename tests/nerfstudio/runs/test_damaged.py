"""Runs of plain `ns-train nerfacto` that are hostile, damaged, or of another kind."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from damage import CHECKPOINT, Trap, as_method, refusal, rewrite, with_checkpoint, with_config
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.configs.method_configs import method_configs

from arf.errors import UserError
from arf.nerfstudio.runs import reading
from arf.nerfstudio.runs.captures import parser_config
from arf.nerfstudio.runs.reading import read_nerfstudio_run

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using a non-tuple sequence", "ignore:Converting a tensor", "ignore:This DataLoader will create"
)


# --- nothing in a run is executed -------------------------------------------------------------------------------------


def test_a_hostile_configuration_runs_nothing(run, tmp_path):
    mark = tmp_path / "mark"
    trap = f"!!python/object/apply:os.system ['touch {mark}']"
    (run / "config.yml").write_text((run / "config.yml").read_text() + f"trap: {trap}\n")
    assert read_nerfstudio_run(run).method == "nerfacto"  # harmless where nobody looks
    rewrite(run, "    num_levels: 2\n    num_nerf", f"    num_levels: {trap}\n    num_nerf")
    assert "num_levels is" in refusal(run)
    assert not mark.exists()
    yaml.load(trap, Loader=yaml.Loader)  # nerfstudio's own way
    assert mark.exists()


def test_a_hostile_checkpoint_runs_nothing(run, tmp_path):
    mark = tmp_path / "mark"
    with_checkpoint(run, lambda state: state.update(scalers=Trap(f"touch {mark}")))
    assert "holds more than tensors and numbers and is not loaded" in refusal(run)
    assert not mark.exists()
    torch.load(run / CHECKPOINT, weights_only=False)  # nerfstudio's own way
    assert mark.exists()
    with_checkpoint(run, lambda state: state.update(scalers=CameraOptimizerConfig()))
    assert "holds more than tensors and numbers and is not loaded" in refusal(run)


def test_a_checkpoint_takes_no_more_memory_than_it_has_bytes(run):
    """J29: strides may repeat one number for ever, an archive may hold what was squeezed."""
    whole = (run / CHECKPOINT).read_bytes()
    with_checkpoint(run, lambda state: state["pipeline"].update({"_model.zzz": torch.zeros(1).expand(10**12)}))
    assert "is cut short or corrupt" in refusal(run)
    (run / CHECKPOINT).write_bytes(whole)
    with_checkpoint(run, lambda state: state["pipeline"].update({"_model.zzz": torch.zeros(2, 2).to_sparse()}))
    assert "is cut short or corrupt" in refusal(run)
    (run / CHECKPOINT).write_bytes(whole)
    with zipfile.ZipFile(run / CHECKPOINT) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(run / CHECKPOINT, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, bytes(10**7) if name.endswith("/data/0") else data)
    assert "is cut short or corrupt" in refusal(run)


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tensorf", "instant-ngp", "depth-nerfacto", "vanilla-nerf"])
def test_other_methods_are_refused(method, run):
    as_method(run, method)
    known = "nerfacto, of splatfacto or of `arf fit`"
    assert refusal(run) == f"{run} is a run of {method}, which cannot be traced; give a run of {known}"


@pytest.mark.parametrize("method", ["nerfacto-big", "nerfacto-huge"])
def test_larger_nerfactos_are_nerfacto(method, run):
    as_method(run, method)
    found = read_nerfstudio_run(run)
    assert found.method == method
    assert found.model["log2_hashmap_size"] == method_configs[method].pipeline.model.log2_hashmap_size


def as_tcnn(state) -> None:
    flat = {k: v for k, v in state["pipeline"].items() if "hash_table" not in k and ".layers." not in k}
    flat["_model.field.mlp_base.model.params"] = torch.zeros(64)
    flat["_model.field.mlp_head.tcnn_encoding.params"] = torch.zeros(64)
    state["pipeline"] = flat


def test_tinycudanns_weights_need_tinycudann(run, monkeypatch):
    with_checkpoint(run, as_tcnn)
    monkeypatch.setattr(reading, "has_tcnn", lambda: False)
    assert "pip install git+https" in refusal(run)
    assert "or train with --pipeline.model.implementation torch" in refusal(run)
    monkeypatch.setattr(reading, "has_tcnn", lambda: True)
    rewrite(run, "implementation: tcnn", "implementation: torch")
    assert read_nerfstudio_run(run).model["implementation"] == "tcnn"


def test_weights_of_another_nerfstudio_are_refused(run):
    def older(state):
        state["pipeline"] = {k.replace("base.model.0.", "base_grid."): v for k, v in state["pipeline"].items()}

    with_checkpoint(run, older)
    assert "nerfstudio 1.1 did not make it; train again" in refusal(run)


@pytest.mark.parametrize("gone", ["/nowhere/shed", "/nowhere/" + "shed" * 99])
def test_a_capture_that_has_gone_is_named(gone, run):
    with_config(run, lambda config: vars(config.pipeline.datamanager).update(data=Path(gone)))
    assert refusal(run) == f"{run} was trained on {gone}, which is not there; put the capture back there"


def test_an_unknown_dataparser_is_named(run):
    rewrite(run, "nerfstudio_dataparser.NerfstudioDataParserConfig", "ours.MyDataParserConfig")
    assert "is 'nerfstudio.data.dataparsers.ours.MyDataParserConfig', which arf does not read" in refusal(run)
    with pytest.raises(UserError, match="is None, which arf does not read"):
        parser_config({})


def test_unknown_settings_are_named(run):
    with pytest.raises(UserError, match=r"unknown settings \(blur, crop\); it needs another version"):
        parser_config({"name": "nerfstudio-data", "crop": 1, "blur": 2, "data": "x"})
    rewrite(run, "    num_nerf_samples_per_ray: 4\n", "    num_nerf_samples_per_ray: 4\n    num_wings: 2\n")
    assert "unknown settings (num_wings)" in refusal(run)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("num_levels: 2\n", "num_levels: many\n"),
        ("far_plane: 1000.0", "far_plane: .inf"),
        ("      mode: SO3xR3", "      mode: twist"),
        ("implementation: tcnn", "implementation: [tcnn]"),
        ("use_linear: false", "use_linear: [[[]]]"),
        ("eval_mode: interval", "eval_mode: &x [*x]"),
    ],
)
def test_a_damaged_value_is_refused(before, after, run):
    rewrite(run, before, after)
    assert f"{run / 'config.yml'} is damaged" in refusal(run)


@pytest.mark.parametrize("key", ["method_name", "pipeline", "mode", "dataparser"])
def test_a_missing_part_is_named(key, run):
    rewrite(run, f"{key}:", f"{key}_was:")
    assert f"{key}: it is damaged or of another nerfstudio than 1.1; train again" in refusal(run)


def test_a_checkpoint_cut_short_is_refused(run):
    whole = (run / CHECKPOINT).read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-30], b"no archive at all"):
        (run / CHECKPOINT).write_bytes(data)
        assert refusal(run) == f"{run / CHECKPOINT} is cut short or corrupt; restore it, or train again"
    (run / CHECKPOINT).write_bytes(b"")
    assert "is empty" in refusal(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("pipeline"),
        lambda state: state.update(pipeline=[1]),
        lambda state: state.update(pipeline={1: torch.zeros(1)}),
        lambda state: state.update(step="two"),
        lambda state: state["pipeline"].update({"_model.field.aabb": 3}),
    ],
)
def test_a_checkpoint_without_a_model_is_refused(change, run):
    with_checkpoint(run, change)
    assert "cut short or corrupt" in refusal(run)


def test_a_run_without_a_checkpoint_is_told_to_wait(run):
    (run / CHECKPOINT).unlink()
    assert "nerfstudio_models holds no step-*.ckpt yet; train on until nerfstudio has saved one" in refusal(run)
