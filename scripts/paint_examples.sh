#!/usr/bin/env bash
# The pictures of docs/adain.md, cast.md, fast.md and video.md, of our own still life: scripts/paint_examples.sh
# The film is one through the scene that `arf demo` has fitted: run that first.
set -euo pipefail
cd "$(dirname "$0")/.."
work=outputs/examples
still=$work/still/images/frame_0000.png
[ -f "$still" ] || python scripts/make_scene.py $work/still --size 512 --height 384 --train 3 --test 1
python - $work <<'PY'
import sys
from pathlib import Path
import torch
from arf.media import image
left = torch.zeros(384, 512, 3)
left[:, :256] = 1
image.write(Path(sys.argv[1]) / "left.png", left)
image.write(Path(sys.argv[1]) / "right.png", 1 - left)
PY
styles=data/styles
for style in geometric strokes stained_glass; do
    arf adain --overwrite $still --style $styles/$style.jpg --output $work/adain-$style.png
done
arf adain --overwrite $still --style $styles/strokes.jpg --preserve-color luminance --output $work/adain-luminance.png
arf adain --overwrite $still --style $styles/woodcut.jpg --mask $work/left.png --style $styles/geometric.jpg \
    --mask $work/right.png --output $work/adain-masks.png
arf adain --overwrite $still --style $styles/woodcut.jpg --alpha 0.6 --output $work/adain-alpha.png
for style in geometric strokes stained_glass woodcut; do
    arf cast --overwrite $still --style $styles/$style.jpg --output $work/cast-$style.png
done
arf adain --overwrite $still --style $styles/woodcut.jpg --output $work/adain-woodcut.png
for style in geometric mosaic pointillism stained_glass strokes woodcut; do
    arf fast --overwrite $still --style $style --output $work/fast-$style.png
done
arf fast --overwrite $still --model stained_glass --output $work/fast-single-1.png
arf fast --overwrite $still --model strokes --output $work/fast-single-2.png
arf render --overwrite outputs/demo/still-life/arf-splat --frames 48 --width 480 --height 360 --fps 24 --output $work/path.mp4
arf video --overwrite $work/path.mp4 --style strokes --smooth --output $work/video-strokes.mp4
arf video --overwrite $work/path.mp4 --method fast --model stained_glass --smooth --output $work/video-stained_glass.mp4
python - $work docs/pictures <<'PY'
import sys
from pathlib import Path
import torch
from arf.media import image
from arf.media.footage import probe
work, docs = map(Path, sys.argv[1:])
def sheet(name, *rows, height=240):
    pictures = [[p if torch.is_tensor(p) else image.read(work / f"{p}.png") for p in row] for row in rows]
    image.write(docs / f"{name}.jpg", image.contact_sheet(pictures, height), quality=88)
sheet("adain", [f"adain-{part}" for part in ("geometric", "strokes", "stained_glass")], ["adain-alpha", "adain-luminance", "adain-masks"])
four = "geometric", "strokes", "stained_glass", "woodcut"
sheet("cast", *[[f"{method}-{style}" for style in four] for method in ("adain", "cast")])
sheet("fast", *[[f"fast-{part}" for part in row] for row in (
    ("geometric", "mosaic", "pointillism", "stained_glass"), ("strokes", "woodcut", "single-1", "single-2"))])
frames = [list(probe(work / f"{part}.mp4").read()) for part in ("path", "video-strokes", "video-stained_glass")]
sheet("video", *[[film[i].float() / 255 for i in (4, 20, 21, 40)] for film in frames], height=180)
PY
