"""nerfacto on a GPU against the CPU's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nerfactos import small_nerfacto
from tiny import FIT
from voxels import views_around

from arf.radiance.fit.loop import fit
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.views import OperatorSet

pytestmark = pytest.mark.cuda
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
VIEWS = views_around(3)
MODELS = {
    "nerfacto": lambda: small_nerfacto(),
    "nerfacto in a box": lambda: small_nerfacto(disable_scene_contraction=True, background_color="white"),
}


def test_fit(room, tmp_path, monkeypatch):
    monkeypatch.setattr("arf.nerfstudio.models.nerfacto_kind.has_tcnn", lambda: False)
    tiny = {"steps": 20, "hash_size": 8, "rays": 48, "background": "auto", "learning_rate": 0.01}
    run = fit(room, replace(FIT, device="cuda", backbone="nerfacto", save_every=10, **tiny), tmp_path)
    curve = [row["rgb"] for row in run.curves()]
    assert curve[-1] < curve[0]
    pictures = []
    for device in (GPU, CPU):
        field, capture = open_photoreal(run, device)
        pictures.append(picture(field, None, capture.train.cameras[0]))
    assert ((pictures[0] - pictures[1]).abs() < 5e-3).float().mean() > 0.98


@pytest.mark.parametrize("name", MODELS)
def test_a_trace_is_the_cpus(name):
    camera = VIEWS.cameras[0]
    found, wanted = (MODELS[name]().to(device).trace(camera, 0.002) for device in (GPU, CPU))
    assert found.color.device.type == "cuda"
    assert ((found.color.cpu() - wanted.color).abs().amax(1) < 1e-3).float().mean() > 0.98
    assert (found.leftover.cpu() - wanted.leftover).abs().median() < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_deferred_back_propagation_is_the_operators(name, tmp_path):
    model = MODELS[name]().to(GPU)
    model.band = 100
    operators = OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, GPU))
    theta = torch.rand(model.count, 3, device=GPU, requires_grad=True)
    background = torch.tensor([0.3, 0.1, 0.7], device=GPU)
    wanted = operators[1].apply(theta, background)
    numbers = model.numbers.clone()
    deferred = OperatorSet(model, VIEWS, None)
    order = torch.empty_like(theta).index_copy(0, model.numbers.long(), theta[numbers.long()])
    found = deferred[1].apply(order, background)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
