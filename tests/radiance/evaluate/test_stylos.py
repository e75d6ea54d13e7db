"""The protocol of Stylos, with known flow, and with RAFT of random weights in the place of torchvision's."""

from __future__ import annotations

import pytest
import torch

from arf.cli import main
from arf.errors import UserError
from arf.metrics import perceptual, rmse
from arf.radiance.evaluate import stylos
from arf.radiance.evaluate.consistency import agreements

CPU = torch.device("cpu")


def texture(width: int = 64) -> torch.Tensor:
    return torch.rand(24, width, 3, generator=torch.Generator().manual_seed(0))


def test_true_flow_leaves_the_hole_that_it_makes_and_nothing_else():
    """Frames of a picture that moves to the right by two pixels: two columns come in, and count."""
    picture = texture()
    frames = [picture.roll(2 * k, 1) for k in range(8)]
    shift = torch.tensor([2.0, 0.0])

    def flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        (apart,) = [k for k in (1, 7) if torch.equal(first.roll(2 * k, 1), second)]
        return (apart * shift).expand(24, 64, 2)

    found = agreements([0], lambda k: {"film": frames[k]}, stylos.by_flow(flow))["film"]
    for gap, apart in (("short", 1), ("long", 7)):
        later, moved = frames[apart], frames[apart].clone()
        moved[:, : 2 * apart] = 0  # a hole, which is black
        assert found[gap].rmse == pytest.approx(rmse(moved, later), rel=1e-3)
        assert found[gap].visible == 1
        (pair,) = found[gap].worst
        assert (pair.first, pair.second) == (apart, 0)
        assert torch.equal(pair.frame, later)


def test_of_two_pixels_that_fall_together_the_one_that_fits_wins():
    frame, later = torch.zeros(1, 3, 3), torch.full((1, 3, 3), 0.9)
    frame[0, 1] = 0.9
    flow = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    _, moved, _ = stylos.by_flow(lambda *_: flow)(0, 1)[1](frame, later)
    assert moved[0, 1, 0].item() > 0.89


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch's."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    stylos.raft.cache_clear()
    yield tmp_path / "checkpoints"
    stylos.raft.cache_clear()


@pytest.fixture
def weights(hub):
    """Random ones."""
    pytest.importorskip("torchmetrics")
    from torchvision import models

    torch.manual_seed(0)
    hub.mkdir()
    torch.save(models.optical_flow.raft_large().state_dict(), stylos.torchvision_file(stylos.RAFT))
    torch.save({"features.0.weight": torch.zeros(1)}, perceptual.weights_file("vgg"))


def test_without_weights_the_protocol_is_refused_by_name(hub, stylized, tmp_path, capsys):
    assert main(["evaluate", str(stylized.path), "--protocol", "stylos", "--output", str(tmp_path / "a.html")]) == 2
    said = capsys.readouterr().err
    assert "raft_large" in said
    assert "--protocol depth" in said
    assert said.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_weights_of_lpips_are_asked_for_too(weights):
    perceptual.weights_file("vgg").unlink()
    with pytest.raises(UserError, match="vgg16"):
        stylos.raft(CPU)


def test_raft_takes_pictures_of_any_size(weights):
    flow = stylos.raft(CPU)
    found = flow(texture(50), texture(50).roll(1, 0))
    assert found.shape == (24, 50, 2)
    assert found.isfinite().all()


def test_lpips_is_fed_as_they_feed_it(monkeypatch):
    seen = []
    monkeypatch.setattr(stylos, "network", lambda net: lambda a, b: seen.append((net, a, b)) or torch.tensor(0.5))
    assert stylos.Lpips255()(torch.ones(8, 8, 3), torch.zeros(8, 8, 3)) == 0.5
    ((net, a, b),) = seen
    assert (net, a.max().item(), b.max().item()) == ("vgg", 255, 0)
