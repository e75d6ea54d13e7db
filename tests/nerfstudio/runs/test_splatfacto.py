"""Runs of splatfacto: a model of nerfstudio's own, with a configuration and a checkpoint as its Trainer writes them."""

from __future__ import annotations

import copy
import json
import shutil
from collections import OrderedDict
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import yaml
from captures import ring, write_transforms
from damage import CHECKPOINT, Trap, refusal, with_checkpoint, with_config
from nerfstudio.configs.method_configs import method_configs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.models.splatfacto import SplatfactoModel
from nerfstudio.scripts.exporter import ExportGaussianSplat
from stock import StandIn

from arf.nerfstudio.runs.reading import foreign_fit, read_nerfstudio_run, state_of
from arf.radiance import opening
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.splats import Splats

COUNT = 30


def make(root: Path, method: str = "splatfacto", **options: object) -> tuple[Path, SplatfactoModel]:
    """A run of a model that has learnt nothing but noise: its directory and its model."""
    config = copy.deepcopy(method_configs[method])
    config.output_dir, config.timestamp = root / "outputs", "now"
    config.data = config.pipeline.datamanager.data = write_transforms(root / "shed", ring(9))
    model_config = config.pipeline.model
    vars(model_config).update({"random_init": True, "num_random": COUNT, **options})
    config.set_experiment_name()
    config.save_config()
    path = config.get_base_dir()
    (path / "nerfstudio_models").mkdir()
    box = SceneBox(torch.tensor([[-1.0, -1, -1], [1, 1, 1]]))
    with patch("torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity", StandIn):
        model = model_config.setup(scene_box=box, num_train_data=8, metadata={})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.gauss_params.values():
            tensor += torch.randn(tensor.shape, generator=generator)
    pipeline = {f"_model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"step": 1, "pipeline": pipeline, "optimizers": {}, "scalers": {}}, path / CHECKPOINT)
    return path, model


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    return make(tmp_path_factory.mktemp("splats"))


@pytest.fixture
def run(stock, tmp_path) -> Path:
    """A copy of the run, to be damaged."""
    return shutil.copytree(stock[0], tmp_path / "run")


def test_what_is_read_is_what_the_model_renders(stock):
    path, model = stock
    state = state_of(foreign_fit(path))
    wanted = {
        "means": model.means, "scales": model.scales.exp(), "opacities": model.opacities.sigmoid().squeeze(1),
        "quats": model.quats / model.quats.norm(dim=-1, keepdim=True), "colors": model.colors, "rest": model.shs_rest,
        "background": torch.zeros(3),
    }  # fmt: skip
    assert state.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(state[name], tensor.detach(), msg=lambda said, name=name: f"{name}: {said}")
    assert state["rest"].shape == (COUNT, 15, 3)


def test_it_opens_as_a_fit(stock):
    path, _ = stock
    fit = opening.open_run(path / "config.yml", "fit")
    assert (fit.info["method"], fit.info["scene"]) == ("splatfacto", "shed")
    assert fit.info["model"] == {"backbone": "splat", "antialiased": False}
    assert json.loads(json.dumps(fit.info["parser"])) == fit.info["parser"]
    field, capture = opening.open_photoreal(fit, torch.device("cpu"))
    assert (field.name, field.count, len(capture.train)) == ("splat", COUNT, 9)  # nine tenths, rounded up
    assert field.trace(capture.train.cameras[0], 0.01).color.isfinite().all()


@pytest.mark.parametrize(
    ("options", "background", "antialiased"),
    [
        ({"background_color": "white"}, [1, 1, 1], False), ({"background_color": "black"}, [0, 0, 0], False),
        ({"rasterize_mode": "antialiased"}, [0, 0, 0], True),
    ],
)  # fmt: skip
def test_background_and_filter(tmp_path, options, background, antialiased):
    path, _ = make(tmp_path, "splatfacto-big", **options)
    found = read_nerfstudio_run(path)
    assert found.state["background"].tolist() == background
    assert found.model == {"backbone": "splat", "antialiased": antialiased}


def test_colors_without_harmonics_are_logits(tmp_path):
    path, model = make(tmp_path, sh_degree=0)
    state = read_nerfstudio_run(path).state
    torch.testing.assert_close(state["colors"], model.colors.detach())
    assert state["rest"].shape == (COUNT, 0, 3)


def test_an_old_checkpoint_has_other_names(stock, run):
    def older(state):
        state["pipeline"] = {name.replace("gauss_params.", ""): value for name, value in state["pipeline"].items()}

    with_checkpoint(run, older)
    found, wanted = (read_nerfstudio_run(path).state for path in (run, stock[0]))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_nerfstudio_exports_of_it_holds_the_same(stock, tmp_path):
    path, model = stock
    parts = {"means": model.means, "f_dc": model.shs_0, "f_rest": model.shs_rest.mT.flatten(1)}
    parts |= {"opacity": model.opacities, "scale": model.scales, "rot": model.quats}
    rows = OrderedDict()
    for name, tensor in parts.items():
        names = (
            "xyz"
            if name == "means"
            else [name]
            if name == "opacity"
            else [f"{name}_{i}" for i in range(tensor.shape[1])]
        )
        rows |= {name: column.detach().numpy() for name, column in zip(names, tensor.T, strict=True)}
    ExportGaussianSplat.write_ply(str(tmp_path / "splat.ply"), COUNT, rows)
    file = read_splats(tmp_path / "splat.ply")
    assert file.up == (0, 0, 1)
    state = read_nerfstudio_run(path).state
    state.pop("background")
    for name, tensor in Splats(**state).tensors().items():
        torch.testing.assert_close(getattr(file.splats, name), tensor)


# --- what cannot be read ----------------------------------------------------------------------------------------------


def replaced(name: str, value: torch.Tensor | None):
    def change(state):
        state["pipeline"].pop(f"_model.gauss_params.{name}")
        if value is not None:
            state["pipeline"][f"_model.gauss_params.{name}"] = value

    return change


WRONG = {
    "no scales": ("scales", None, "its checkpoint has no scales, so splatfacto did not make it"),
    "fewer quaternions": ("quats", torch.zeros(5, 4), "quats of its checkpoint have other shapes than splats"),
    "scales of 2D": ("scales", torch.zeros(COUNT, 2), "scales of its checkpoint have other shapes"),
    "a number": ("means", torch.tensor(3.0), "of its checkpoint have other shapes"),
    "complex numbers": ("means", torch.zeros(COUNT, 3, dtype=torch.complex64), "means of its checkpoint have other"),
    "degree 4": ("features_rest", torch.zeros(COUNT, 24, 3), "its harmonics have 24 coefficients"),
    "flat harmonics": ("features_rest", torch.zeros(COUNT, 45), "features_rest of its checkpoint have other shapes"),
    "NaN": ("means", torch.full((COUNT, 3), torch.nan), "holds no splat whose numbers are finite"),
}


@pytest.mark.parametrize("what", WRONG)
def test_checkpoints_that_are_none(what, run):
    name, value, said = WRONG[what]
    with_checkpoint(run, replaced(name, value))
    assert said in refusal(run)


def test_no_splats_at_all(run):
    def emptied(state):
        state["pipeline"] = {name: value[:0] for name, value in state["pipeline"].items() if "gauss_params" in name}

    with_checkpoint(run, emptied)
    assert "holds no splats" in refusal(run)


def test_splats_that_are_none_are_counted(run, stock, caplog):
    scales = stock[1].scales.detach().clone()
    scales[3:5] = torch.inf
    with_checkpoint(run, replaced("scales", scales))
    assert len(read_nerfstudio_run(run).state["means"]) == COUNT - 2
    assert f"2 of {COUNT} splats are not finite: left out" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"), [("rasterize_mode", "blurred"), ("background_color", [1, 2]), ("background_color", None)]
)
def test_a_configuration_that_is_none(key, value, run):
    with_config(run, lambda config: vars(config.pipeline.model).update({key: value}))
    assert f"pipeline.model of {run / 'config.yml'} is damaged ({key} is" in refusal(run)


def test_nothing_is_executed(run, tmp_path):
    mark = tmp_path / "mark"
    trap = f"!!python/object/apply:os.system ['touch {mark}']"
    text = (run / "config.yml").read_text()
    (run / "config.yml").write_text(text.replace("rasterize_mode: classic", f"rasterize_mode: {trap}"))
    assert "rasterize_mode is" in refusal(run)
    (run / "config.yml").write_text(text)
    with_checkpoint(run, lambda state: state.update(scalers=Trap(f"touch {mark}")))
    assert "holds more than tensors and numbers" in refusal(run)
    assert not mark.exists()
    yaml.load(trap, Loader=yaml.Loader)  # nerfstudio's own way
    assert mark.exists()
