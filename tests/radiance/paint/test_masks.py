"""What a capture masks out is in no fit and in no palette (C11, C16)."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import tiny_encoder
from PIL import Image
from tiny import FIT, STYLIZE

from arf.media import image
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.fit.loop import fit
from arf.radiance.opening import open_photoreal
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.subject import Subject


def masked(room: Path, folder: Path, color: tuple[int, int, int]) -> Path:
    """The room with a banner across all photographs, which is masked out."""
    shutil.copytree(room, folder)
    (folder / "masks").mkdir()
    for file in sorted((folder / "images").iterdir()):
        pixels = np.array(Image.open(file).convert("RGB"))
        pixels[5:14] = color
        Image.fromarray(pixels).save(file)
        mask = np.full(pixels.shape[:2], 255, np.uint8)
        mask[5:14] = 0
        Image.fromarray(mask).save(folder / "masks" / file.name)
    return folder


@pytest.fixture(scope="module")
def captures(room, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("masked")
    return [masked(room, folder / name / "room", color) for name, color in (("a", (255, 0, 255)), ("b", (0, 90, 0)))]


def test_what_is_masked_out_changes_nothing(captures, paintings, tmp_path):
    models, maps, metrics = [], [], []
    for i, data in enumerate(captures):
        run = fit(data, replace(FIT, steps=20, stages=(0.9,)), tmp_path / str(i))
        field, capture = open_photoreal(run, torch.device("cpu"))
        painter = Painter(
            Subject(field, capture.train, STYLIZE), [image.read_style(paintings[0])], tiny_encoder(), STYLIZE
        )
        models.append((run.path / "model.safetensors").read_bytes())
        maps.append(painter.recolor.matrix)
        metrics.append([run.info["metrics"][name] for name in ("psnr", "ssim")])
    assert models[0] == models[1]
    assert torch.equal(*maps)
    assert metrics[0] == metrics[1]


def test_the_loss_of_a_masked_view_has_no_gradient_in_masked_features(captures, paintings, tmp_path):
    views = load_capture(CaptureConfig(data=captures[0])).train
    run = fit(captures[0], replace(FIT, steps=5, stages=(0.9,)), tmp_path)
    field, _ = open_photoreal(run, torch.device("cpu"))
    settings = replace(STYLIZE, content_weight=0, layers=("relu1_1",))  # which sees the pixels beside it
    painter = Painter(Subject(field, views, settings), [image.read_style(paintings[0])], tiny_encoder(), settings)
    shown = torch.rand(*views.size(0), 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(sum(painter.losses(shown, 0).values()), shown)
    assert (painter.subject.weight(0) == 0).all(1).nonzero()[:, 0].tolist() == list(range(5, 14))
    assert not gradient[6:13].any()
    assert gradient[:4].any(-1).float().mean() > 0.9
    assert gradient[15:].any(-1).float().mean() > 0.9
