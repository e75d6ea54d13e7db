"""Good inputs for every command, made once, and the shortest calls of every command with them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import street
from clips import clip, ffmpeg
from samples import photo
from splatfiles import some
from tiny import FIT, STYLIZE

from arf.media import image
from arf.networks.modelfile import BUNDLED
from arf.radiance.fields.splats.files.ply import write_ply
from arf.radiance.fit.loop import fit
from arf.radiance.opening import open_run
from arf.radiance.paint.stylize import stylize
from arf.radiance.settings import SplatSettings

CALLS = {
    "cameras": "cameras {place} --threads 1 --output {out}/o",
    "fit": "fit {capture} --backbone voxel --steps 2 --resolutions 12 --stages --samples 2000 --device cpu"
    " --output {out}/o",
    "stylize": "stylize {fit} --style {style} --layers relu2_1 --steps 1 --output {out}/o",
    "lift": "lift {fit} --with adain --style {style} --passes 1 --output {out}/o",
    "blend": "blend {painted} {painted} --output {out}/o",
    "render": "render {fit} --frames 1 --output {out}/o.mp4",
    "export": "export {fit} --points 100 --output {out}/o.ply",
    "evaluate": "evaluate {fit}",
    "view": "view {fit} --port 18765",
    "demo": "demo --quick --style {style} --output {out}/o",
    "gatys": "gatys {photo} --style {style} --size 48 --steps 1 --output {out}/o.png",
    "texture": "texture {photo} --width 48 --height 48 --steps 1 --output {out}/o.png",
    "invert": "invert {photo} --size 48 --steps 1 --output {out}/o.png",
    "dream": "dream {photo} --size 48 --octaves 1 --steps 1 --output {out}/o.png",
    "features": "features {photo} --other {style} --size 48 --layers relu2_1 --channels 2 --output {out}/o",
    "adain": "adain {photo} --style {style} --output {out}/o.png",
    "cast": "cast {photo} --style {style} --output {out}/o.png",
    "fast": "fast {photo} --style mosaic --output {out}/o.png",
    "video": "video {video} --style mosaic --output {out}/o.mp4",
    "train": "train fast --content {folder} --style {style} --steps 1 --batch 1 --crop 32 --load 40 --workers 0"
    " --output {out}/o",
    "onnx": "onnx many --model {fast} --output {out}/o.onnx",
}
VIEWS = "--views 2 --view-size 32"
OF_SPLATS = {  # those that take a file of splats
    "stylize": f"stylize {{splats}} {VIEWS} --style {{style}} --layers relu2_1 --steps 1 --output {{out}}/o",
    "lift": f"lift {{splats}} {VIEWS} --with fast --style mosaic --passes 1 --output {{out}}/o",
    "render": f"render {{splats}} {VIEWS} --frames 1 --width 32 --output {{out}}/o.mp4",
    "export": f"export {{splats}} {VIEWS} --output {{out}}/o.ply",
    "export html": f"export {{splats}} {VIEWS} --output {{out}}/o.html",
    "export points": f"export {{splats}} {VIEWS} --format points --points 100 --output {{out}}/o.ply",
    "view": f"view {{splats}} {VIEWS} --port 18765",
}
OF_PAINTED_SPLATS = {
    name: call.replace(f"{{splats}} {VIEWS}", "{painted_splats}")
    for name, call in OF_SPLATS.items()
    if name not in ("stylize", "lift")
}


def ending(calls: dict[str, str]) -> dict[str, str]:
    """Those that come to an end, and exports to the other formats of splats."""
    others = {f"export {name}": calls["export"].replace("o.ply", f"o.{name}") for name in ("splat", "spz")}
    return {**{name: call for name, call in calls.items() if name != "view"}, **others}


@dataclass(frozen=True)
class Good:
    """Inputs that every command takes. Read only; copies are spoiled."""

    root: Path
    photo: Path
    style: Path
    folder: Path
    place: Path
    capture: Path
    fit: Path
    painted: Path
    splats: Path
    painted_splats: Path
    video: Path
    sound: Path
    fast: Path
    adain: Path
    cast: Path


def make(root: Path, capture: Path) -> Good:
    """All of them in a new folder. The capture is a copy without lists of a split."""
    shutil.copytree(capture, root / "capture")
    meta = json.loads((capture / "transforms.json").read_text())
    meta = {key: value for key, value in meta.items() if not key.endswith("_filenames")}
    (root / "capture" / "transforms.json").write_text(json.dumps(meta))
    for i in range(3):
        image.write(root / "photos" / f"{i}.png", photo(64, 64, i))
    image.write(root / "style.png", photo(64, 64, 3))
    street.photograph(root / "place", street.around(4, 0.6))
    short = replace(FIT, steps=20, samples=4000, resolutions=(12,), stages=())
    fitted = fit(root / "capture", short, root / "runs")
    brief = replace(STYLIZE, steps=2, layers=("relu2_1",))
    painted = stylize(fitted, [root / "style.png"], brief, root / "runs")
    write_ply(root / "splats.ply", some(200))
    brought = open_run(root / "splats.ply", splats=SplatSettings(views=2, view_size=32))
    painted_splats = stylize(brought, [root / "style.png"], brief, root / "runs")
    clip(root / "video.mp4", rate="10", seconds=0.6)
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", root / "sound.m4a")
    return Good(
        root, root / "photos" / "0.png", root / "style.png", root / "photos", root / "place",
        root / "capture", fitted.path,
        painted.path, root / "splats.ply", painted_splats.path, root / "video.mp4", root / "sound.m4a",
        *(BUNDLED / f"{name}.safetensors" for name in ("fast-many", "adain-compact", "cast-compact")),
    )  # fmt: skip
