"""Presets: every shipped one applies, and a bad one says where it is wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from arf.errors import UserError
from arf.jobs.presets import apply_preset, unless_preset
from arf.radiance.settings import FitSettings, RenderSettings, StylizeSettings

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
SECTIONS = {"fit": FitSettings, "stylize": StylizeSettings, "render": RenderSettings}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
@pytest.mark.parametrize("section", SECTIONS)
def test_every_shipped_preset_applies(path, section):
    if section in yaml.safe_load(path.read_text()):
        assert type(apply_preset(SECTIONS[section](), path, section)) is SECTIONS[section]
    else:
        with pytest.raises(UserError, match=f"has no section {section}, only (train|stylize)"):
            apply_preset(SECTIONS[section](), path, section)


def test_values_replace_defaults_and_keep_their_type(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("fit:\n  steps: 7\n  downscale: 2\n  resolutions: [8, 16]\nstylize:\n  steps: 9\n")
    settings = apply_preset(FitSettings(seed=3), path, "fit")
    assert (settings.steps, settings.downscale, settings.resolutions, settings.seed) == (7, 2.0, (8, 16), 3)
    assert isinstance(settings.downscale, float)
    assert apply_preset(StylizeSettings(), path, "stylize") == StylizeSettings(steps=9)
    path.write_text("fit:\n  learning_rate: 1\nstylize:\n  encoder_weights: vgg.pth\n")
    assert isinstance(apply_preset(FitSettings(), path, "fit").learning_rate, float)
    assert apply_preset(StylizeSettings(), path, "stylize").encoder_weights == Path("vgg.pth")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fit:\n  stepz: 7", "there is no setting 'stepz'; known are format, "),
        ("fit:\n  steps: many", "p.yaml: fit: steps: expected int, got str; correct the preset"),
        ("fit:\n  distortion: [1]", "distortion: expected float, got array"),
        (
            "fit:\n  backbone: mesh",
            "fit: backbone: invalid enum value 'mesh'; it is one of auto, splat, voxel, nerfacto",
        ),
        ("fit: 7", "no preset"),
        ("fit: [", "not readable YAML"),
        ("fitt:\n  steps: 7", "there is no section 'fitt'; known are fit, render"),
        ("render:\n  frames: 7", "has no section fit, only render; leave --config out"),
        ("fit: 5\n" + "x" * 1_000_001, "larger than 1 MB"),
        ("fit: {steps: 1" + "0" * 5000 + "}", "not readable YAML"),
        ("fit: {step: 1" + "0" * 400 + "}", "step: number out of range"),
        ("[" * 50_000, "nested too deep"),
        (LAUGHS, "aliases have no use"),
        ("fit: &a {steps: *a}", "aliases have no use"),
        ("fit: !!python/object/apply:os.getcwd []", "not readable YAML"),
    ],
)
def test_a_bad_preset_is_refused(tmp_path, text, said):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        apply_preset(FitSettings(), path, "fit", known=("fit", "render"))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.yaml")
    with pytest.raises(UserError, match="is a pipe"):
        apply_preset(FitSettings(), tmp_path / "p.yaml", "fit")


def test_a_missing_preset_says_where_they_are(tmp_path):
    with pytest.raises(UserError, match="configs/"):
        apply_preset(FitSettings(), tmp_path / "none.yaml", "fit")


def test_settings_left_out_follow_the_kind_of_scene():
    asked = FitSettings(distortion=0.5)
    filled = asked.for_kind("bounded")
    assert filled.distortion == 0.5
    assert filled.resolutions == (48, 96, 144)
    assert asked.for_kind("unbounded").resolutions != filled.resolutions


def test_what_only_a_preset_said_can_be_taken_back(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("render:\n  compare: true\n  strength: 0.5\n  frames: 7\n")
    flag = replace(apply_preset(RenderSettings(), path, "render"), strength=0.25)  # --strength 0.25 beside the preset
    kept = unless_preset(flag, path, "render", ("compare", "strength"))
    assert (kept.compare, kept.strength, kept.frames) == (False, 0.25, 7)
    assert unless_preset(flag, None, "render", ("compare", "strength")) is flag
