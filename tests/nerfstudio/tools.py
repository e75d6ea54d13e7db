"""nerfstudio's command-line tools, called in this process, on a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from nerfstudio.scripts.eval import ComputePSNR
from nerfstudio.scripts.render import RenderCameraPath
from nerfstudio.scripts.viewer import run_viewer
from torch import Tensor
from viewer_client import Client, free_port, stop_viewer

from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.opening import capture_of
from arf.radiance.paths.files import to_json
from arf.radiance.paths.shapes import CameraPath


def give_ffmpeg(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The ffmpeg that imageio carries, by the name under which nerfstudio looks for it."""
    folder.mkdir()
    (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def ns_eval(run: Run, folder: Path) -> dict[str, float]:
    ComputePSNR(load_config=run.path / "config.yml", output_path=folder / "eval.json").main()
    return json.loads((folder / "eval.json").read_text())["results"]


def ns_render(run: Run, folder: Path, frames: int = 2, form: str = "images") -> list[Tensor] | Path:
    """`ns-render camera-path` through the first held-out cameras: the frames [h, w, 3], or the video's path."""
    cameras = capture_of(run).held_out.cameras[:frames]
    to_json(CameraPath(cameras, fps=4.0), folder / "path.json")
    output = folder / ("film.mp4" if form == "video" else "film")
    RenderCameraPath(
        load_config=run.path / "config.yml", output_path=output, camera_path_filename=folder / "path.json",
        output_format=form, image_format="png",
    ).main()  # fmt: skip
    return output if form == "video" else [image.read(file) for file in sorted(output.glob("*.png"))]


def ns_export(run: Run, folder: Path, points: int = 500) -> tuple[Tensor, Tensor]:
    """`ns-export pointcloud`: positions and colours, [n, 3] each."""
    open3d = pytest.importorskip(
        "open3d", reason="ns-export needs open3d, which is not installed here", exc_type=ImportError
    )
    from nerfstudio.scripts.exporter import ExportPointCloud

    ExportPointCloud(
        load_config=run.path / "config.yml", output_dir=folder / "cloud", num_points=points, normal_method="open3d",
        num_rays_per_batch=256,
    ).main()  # fmt: skip
    cloud = open3d.io.read_point_cloud(str(folder / "cloud" / "point_cloud.ply"))
    return torch.from_numpy(np.asarray(cloud.points)).float(), torch.from_numpy(np.asarray(cloud.colors)).float()


@contextmanager
def ns_viewer(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of `ns-viewer`."""
    started = []

    def start(*parts: object, **named: object):
        started.append(viewer(*parts, **named))
        return started[0]

    def leave(_: float) -> None:
        raise KeyboardInterrupt

    viewer = run_viewer.ViewerState
    monkeypatch.setattr(run_viewer, "ViewerState", start)
    monkeypatch.setattr(run_viewer, "time", SimpleNamespace(sleep=leave))  # it sleeps until it is interrupted
    port = free_port()
    config = run_viewer.ViewerConfigWithoutNumRays(websocket_port=port, websocket_host="localhost")
    with pytest.raises(KeyboardInterrupt):
        run_viewer.RunViewer(load_config=run.path / "config.yml", viewer=config).main()
    try:
        with Client(port) as client:
            yield client
    finally:
        stop_viewer(started[0])
