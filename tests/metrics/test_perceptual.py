"""LPIPS, with a network of random weights in the place of torchvision's."""

from __future__ import annotations

import pytest
import torch

from arf.errors import UserError
from arf.metrics import LPIPS, lpips, perceptual


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch's."""
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    network = perceptual.network
    network.cache_clear()
    yield tmp_path
    network.cache_clear()


@pytest.fixture
def alexnet(hub):
    from torchvision import models

    torch.manual_seed(0)
    file = perceptual.weights_file("alex")
    file.parent.mkdir()
    torch.save(models.alexnet().state_dict(), file)


def pictures(count: int) -> list[torch.Tensor]:
    return list(torch.rand(count, 72, 64, 3, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_weights_that_are_not_there_are_not_downloaded_but_named(hub, net):
    said = perceptual.missing(net)
    assert perceptual.weights_file(net).name in said
    assert "torchvision.models." in said
    for what in (lambda: lpips(*pictures(2), net=net), lambda: LPIPS(net)):
        with pytest.raises(UserError, match="LPIPS needs"):
            what()
    assert not any(hub.iterdir())


def test_weights_that_execute_something_are_refused(hub):
    file = perceptual.weights_file("alex")
    file.parent.mkdir()
    torch.save({"features.0.weight": print}, file)
    with pytest.raises(UserError, match="no weights file"):
        lpips(*pictures(2))


def test_a_distance(alexnet):
    first, second = pictures(2)
    assert perceptual.missing("alex") is None
    assert lpips(first, first) == 0
    assert lpips(first, second) > 0
    metric = LPIPS()
    assert metric(first, second) == metric(first, second) == lpips(first, second)  # nothing is carried over
    assert metric.count == 2


def test_what_says_nothing_has_no_figure(alexnet):
    first, second = pictures(2)
    metric = LPIPS()
    metric.update(first, second, torch.zeros(72, 64, dtype=torch.bool))
    assert metric.count == 0
    with pytest.raises(ValueError, match="needs 32 pixels"):
        lpips(first[:31], second[:31])


def test_the_network_sees_values_around_zero_and_grey_where_nothing_counts(alexnet, monkeypatch):
    seen = []
    monkeypatch.setattr(perceptual, "network", lambda net: lambda a, b: seen.append((a, b)) or torch.zeros(()))
    mask = torch.zeros(72, 64, dtype=torch.bool)
    mask[10:20] = True
    lpips(torch.ones(72, 64, 3), torch.zeros(72, 64, 3), mask)
    ((a, b),) = seen
    assert (a[0, :, 10:20] == 1).all()
    assert (b[0, :, 10:20] == -1).all()
    assert (a[0, :, 20:] == 0).all()
    assert (b[0, :, 20:] == 0).all()
