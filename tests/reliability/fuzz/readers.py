"""Every reader of files: a folder with a valid file for it, and what opens it.

A new reader is a function here that writes a valid file into an empty folder; it goes into `READERS` with what the
file's values are (None: bytes alone).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import states
import torch
from captures import load, poses_bounds, ring, transforms, write_picture
from documents import JSON, TENSORS, WORDS, YAML, Codec
from good import Good
from PIL import Image
from splat_readers import SPLATS, Read
from trained import adain_file, fast_file

from arf.jobs.files import write_json
from arf.jobs.presets import apply_preset
from arf.jobs.runs import Run
from arf.media import image
from arf.media.footage import probe
from arf.networks import modelfile
from arf.radiance.capture.intake.taken import Skipped, Taken
from arf.radiance.capture.sfm.notes import FORMAT, Notes, read_notes, write_notes
from arf.radiance.capture.sfm.verdict import Found
from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_model, open_run
from arf.radiance.paths import choice
from arf.radiance.paths.files import from_json
from arf.radiance.settings import CameraSettings, FitSettings
from arf.radiance.share.splatfiles import write_splats
from arf.radiance.share.walk import ride_of
from arf.style import pretrained
from arf.training.settings import TrainSettings
from arf.training.train import record_of

CPU = torch.device("cpu")
VIEWS = 4


class Prepared(NamedTuple):
    """
    Attributes:
        file: that is spoiled.
        read: opens it, and all that belongs to it.
    """

    file: Path
    read: Callable[[], object]


def capture(good: Good, at: Path, name: str, content: bytes, others: dict[str, bytes] | None = None) -> Prepared:
    """A capture of four photographs whose file `name` is spoiled."""
    for i in range(VIEWS):
        write_picture(at / "images" / f"{i:02d}.png", i)
    for path, held in {name: content, **(others or {})}.items():
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        (at / path).write_bytes(held)
    return Prepared(at / name, lambda: load(at))


def nerfstudio(good: Good, at: Path) -> Prepared:
    extra = {"k1": 0.01, "arf_scene_box": [[-1, -1, -1], [1, 1, 1]], "applied_transform": np.eye(4)[:3].tolist()}
    return capture(good, at, "transforms.json", json.dumps(transforms(ring(VIEWS), **extra)).encode())


def blender(good: Good, at: Path) -> Prepared:
    frames = transforms(ring(VIEWS))["frames"]
    return capture(good, at, "transforms_train.json", json.dumps({"camera_angle_x": 0.9, "frames": frames}).encode())


def notes(good: Good, at: Path) -> Prepared:
    """Of a capture that was made of photographs."""
    one = Taken("a.jpg", "/in/a.jpg", "a.jpg", "1-2", "phone 24x16", (24, 16), 9.0, 0.6, (0.0, 1.0, 0.0), None, True)
    found = Found(1, 2, 100, 0.5, 20.0, [Skipped("b.jpg", "blurred")], [1])
    write_notes(at, Notes(FORMAT, "0", ["/in"], CameraSettings(), ["/in/a.jpg 1-2"], [one], [], found))
    return Prepared(at / "arf_cameras.json", lambda: read_notes(at))


CAMERAS = b"1 OPENCV 24 16 20.0 20.0 12.0 8.0 0.1 0.02 0.001 0.002"
IMAGES = b"\n".join(b"%d 0.5 0.5 0.5 0.5 %d 0.0 2.0 1 %02d.png\n1.0 2.0 -1" % (i + 1, i, i) for i in range(VIEWS))


def colmap_text(good: Good, at: Path, spoiled: str) -> Prepared:
    files = {"sparse/0/cameras.txt": CAMERAS, "sparse/0/images.txt": IMAGES, "sparse/0/points3D.txt": b""}
    return capture(good, at, f"sparse/0/{spoiled}.txt", files[f"sparse/0/{spoiled}.txt"], files)


def colmap_binary(good: Good, at: Path, spoiled: str) -> Prepared:
    import pycolmap

    prepared = colmap_text(good, at, spoiled)
    folder = at / "sparse" / "0"
    pycolmap.Reconstruction(str(folder)).write_binary(str(folder))
    for path in folder.glob("*.txt"):
        path.unlink()
    return Prepared(folder / f"{spoiled}.bin", prepared.read)


def llff(good: Good, at: Path) -> Prepared:
    np.save(at / "x.npy", poses_bounds(ring(VIEWS)))
    return capture(good, at, "poses_bounds.npy", (at / "x.npy").read_bytes())


def splats(good: Good, at: Path, make: Callable[[Path], Read]) -> Prepared:
    return Prepared(*make(at))


def camera_path(good: Good, at: Path) -> Prepared:
    camera = {"camera_to_world": np.eye(4).ravel().tolist(), "fov": 50, "aspect": 1}
    path = {"camera_type": "perspective", "render_width": 16, "render_height": 16, "fps": 8, "seconds": 2}
    write_json(at / "path.json", {**path, "camera_path": [camera, camera], "keyframes": [], "crop": None})
    return Prepared(at / "path.json", lambda: from_json(at / "path.json"))


def run(good: Good, at: Path, kind: str, name: str) -> Prepared:
    """A run, opened as `arf render` opens it."""
    shutil.copytree(getattr(good, kind), at, dirs_exist_ok=True)
    return Prepared(at / name, lambda: open_model(open_run(at), CPU))


def shown_run(good: Good, at: Path, name: str) -> Prepared:
    """A painting of splats, opened and shown as `arf render`, `arf export` and the page do."""
    shutil.copytree(good.painted_splats, at, dirs_exist_ok=True)

    def read() -> None:
        field, painted, capture = open_model(open_run(at), CPU)
        (camera,) = choice.camera_path(capture, "interpolate", 1, 24, 16, 16).cameras
        assert painting(field, painted.look, camera).shape == (16, 16, 3)
        ride_of(capture, "auto", 4, 24)
        write_splats(at / "o.ply", "ply", field.splats.flat(painted.look.theta), capture, "auto")

    return Prepared(at / name, read)


def training(good: Good, at: Path) -> Prepared:
    asked = {"method": "fast", "content": "photos", "style": ["a.png"], "init": None}
    drawn = {"content": {"files": 4, "names": "00000000"}, "style": {"files": 1, "names": "00000000"}}
    Run.at(at, "a", "fast", kind="training", asked=asked, settings=TrainSettings(), drawn=drawn).save_info()
    return Prepared(at / "arf.json", lambda: record_of(Run.open(at, "training", finished=False)))


def state(good: Good, at: Path, of: Callable[[Good, Path], states.State]) -> Prepared:
    """What an unfinished job goes on from."""
    return Prepared(*of(good, at))


def preset(good: Good, at: Path) -> Prepared:
    text = "fit:\n  steps: 100\n  resolutions: [16, 32]\n  background: auto\nstylize:\n  layers: [relu2_1]\n"
    (at / "p.yaml").write_text(text)
    sections = ("fit", "stylize")
    return Prepared(at / "p.yaml", lambda: apply_preset(FitSettings(), at / "p.yaml", "fit", sections).check())


def network(good: Good, at: Path, make: Callable[[Path], Path], read: Callable[[Path], object]) -> Prepared:
    file = make(at)
    return Prepared(file, lambda: read(file))


def weights(at: Path) -> Path:
    """Of torch, as published networks come."""
    torch.save({"layer1.conv2d.weight": torch.zeros(4, 3, 3, 3), "layer1.conv2d.bias": torch.zeros(4)}, at / "x.pth")
    return at / "x.pth"


def picture(good: Good, at: Path, suffix: str) -> Prepared:
    file, size = at / f"x{suffix}", (18, 17)
    noisy = np.random.default_rng(0).integers(0, 255, (17, 18, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(file)

    def read() -> None:
        image.read_style(file)
        image.read_mask(file, size[::-1], size[::-1])

    return Prepared(file, read)


def film(good: Good, at: Path) -> Prepared:
    shutil.copy(good.video, at / "x.mp4")
    return Prepared(at / "x.mp4", lambda: probe(at / "x.mp4"))


def configuration(good: Good, at: Path) -> Prepared:
    """config.yml of a run of ns-train."""
    from arf.nerfstudio.runs.plain import load_plain
    from arf.nerfstudio.runs.reading import read_nerfstudio_run

    (at / "nerfstudio_models").mkdir()
    state = {"step": 1, "pipeline": {"_model.field.mlp_base.model.0.hash_table": torch.zeros(4, 2)}}
    torch.save(state, at / "nerfstudio_models" / "step-000000001.ckpt")
    kind = "!!python/object:nerfstudio.models.nerfacto.NerfactoModelConfig"
    parser = "!!python/object:nerfstudio.data.dataparsers.nerfstudio_dataparser.NerfstudioDataParserConfig"
    (at / "config.yml").write_text(
        "!!python/object:nerfstudio.engine.trainer.TrainerConfig\nmethod_name: nerfacto\nexperiment_name: x\n"
        f"data: &a !!python/object/apply:pathlib.PosixPath\n- /\n- tmp\npipeline:\n  model: {kind}\n"
        "    near_plane: 0.05\n    num_levels: 16\n    background_color: last_sample\n    camera_optimizer:\n"
        f"      mode: 'off'\n  datamanager:\n    data: *a\n    dataparser: {parser}\n      scale_factor: 1.0\n"
        "      center_method: poses\n"
    )

    def read() -> None:
        load_plain(at / "config.yml")
        read_nerfstudio_run(at)

    return Prepared(at / "config.yml", read)


def checkpoint(good: Good, at: Path) -> Prepared:
    prepared = configuration(good, at)
    (file,) = (at / "nerfstudio_models").iterdir()
    return Prepared(file, prepared.read)


READERS: dict[str, tuple[Callable[[Good, Path], Prepared], Codec | None]] = {
    "transforms.json": (nerfstudio, JSON),
    "transforms_train.json": (blender, JSON),
    "cameras.txt": (partial(colmap_text, spoiled="cameras"), WORDS),
    "images.txt": (partial(colmap_text, spoiled="images"), WORDS),
    "cameras.bin": (partial(colmap_binary, spoiled="cameras"), None),
    "images.bin": (partial(colmap_binary, spoiled="images"), None),
    "poses_bounds.npy": (llff, None),
    "arf_cameras.json": (notes, JSON),
    "camera path": (camera_path, JSON),
    "arf.json of a fit": (partial(run, kind="fit", name="arf.json"), JSON),
    "arf.json of a painting": (partial(run, kind="painted", name="arf.json"), JSON),
    "arf.json of a training": (training, JSON),
    "arf.json of painted splats": (partial(shown_run, name="arf.json"), JSON),
    "model of painted splats": (partial(shown_run, name="model.safetensors"), TENSORS),
    "model of a fit": (partial(run, kind="fit", name="model.safetensors"), TENSORS),
    "model of a painting": (partial(run, kind="painted", name="model.safetensors"), TENSORS),
    "state of a fit": (partial(state, of=states.fit), TENSORS),
    "state of a fit of splats": (partial(state, of=states.fit_of_splats), TENSORS),
    "state of a painting": (partial(state, of=states.painting), TENSORS),
    "state of painted splats": (partial(state, of=states.painting_of_splats), TENSORS),
    "state of a training": (partial(state, of=states.training), TENSORS),
    "state of a picture": (partial(state, of=states.picture), TENSORS),
    "state of a film": (partial(state, of=states.video), TENSORS),
    "preset": (preset, YAML),
    "fast network": (partial(network, make=fast_file, read=modelfile.open_fast), TENSORS),
    "adain network": (partial(network, make=adain_file, read=modelfile.open_adain), TENSORS),
    "weights": (partial(network, make=weights, read=pretrained.read), None),
    "config.yml": (configuration, WORDS),
    "checkpoint": (checkpoint, None),
    **{
        suffix: (partial(picture, suffix=suffix), None) for suffix in (".png", ".jpg", ".webp", ".tiff", ".gif", ".bmp")
    },
    **{name: (partial(splats, make=make), codec) for name, (make, codec) in SPLATS.items()},
    ".mp4": (film, None),
}
NEEDS_NERFSTUDIO = {"config.yml", "checkpoint"}
SLOW = {".mp4": 4}
"""Examples where one is a process."""
