"""Settings of the fit and the style job that most tests of the 3D pipeline share."""

from __future__ import annotations

from arf.radiance.settings import FitSettings, StylizeSettings

FIT = FitSettings(
    backbone="voxel", steps=120, samples=20_000, resolutions=(16, 32), stages=(0.4,), save_every=25, device="cpu",
    background="0.5,0.5,0.5", learning_rate=0.06, final_learning_rate=0.006,
    distortion=0.001, smoothness=0.1, color_smoothness=0.01,
)  # fmt: skip
STYLIZE = StylizeSettings(
    steps=30,
    save_every=10,
    device="cpu",
    drop_weight=0.002,
    layers=("relu2_1", "relu3_1"),
    content_weight=0.01,
    size=64,
)
