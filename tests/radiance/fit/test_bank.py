"""The pixels that a fit draws from."""

from __future__ import annotations

import torch

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.fit.bank import RayBank

CPU = torch.device("cpu")


def test_ray_bank_holds_every_pixel_once(room):
    views = load_capture(CaptureConfig(data=room)).train
    bank = RayBank.of(views, CPU)
    assert len(bank) == sum(camera.pixels for camera in views.cameras)
    for i in (0, 7, 17):
        mine = bank.colors[bank.starts[i] : bank.starts[i + 1]]
        assert torch.equal(mine.float() / 255, views.image(i).view(-1, 3))


def test_a_drawn_ray_is_its_pixels(room):
    views = load_capture(CaptureConfig(data=room)).train
    bank = RayBank.of(views, CPU)
    torch.manual_seed(3)
    batch = bank.draw(500)
    torch.manual_seed(3)
    pixels = torch.randint(0, len(bank), (500,))
    assert len(set(batch.views.tolist())) == len(views)
    for k, pixel in enumerate(pixels.tolist()):
        view = int(batch.views[k])
        place = pixel - int(bank.starts[view])
        origins, directions = views.cameras[view].rays()
        torch.testing.assert_close(batch.directions[k], directions[place], rtol=0, atol=1e-6)
        assert torch.equal(batch.origins[k], origins[place])
        assert torch.equal(batch.colors[k], views.image(view).view(-1, 3)[place])


def test_masked_pixels_are_never_drawn():
    """C11: three cameras of different sizes, half of the second one masked out."""
    poses = torch.eye(4)[:3].repeat(3, 1, 1)
    cameras = Cameras.of(poses, 9.0, 9.0, 4.0, 3.0, [8, 6, 8], [6, 8, 6])
    colors = torch.zeros(3 * 48, 3, dtype=torch.uint8)
    colors[48:96, 0] = 255
    chosen = torch.tensor([*range(48), *range(72, 144)])
    bank = RayBank(cameras, colors, torch.tensor([0, 48, 96, 144]), chosen, CPU)
    batch = bank.draw(20_000)
    second = batch.views == 1
    assert 0.15 < second.float().mean() < 0.25  # 24 of 120 pixels
    rows = (-batch.directions[second, 1] / batch.directions[second, 2].abs() * 9 + 3).floor()  # 6 pixels wide
    assert rows.min() == 4
    assert rows.max() == 7
