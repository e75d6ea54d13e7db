#!/usr/bin/env bash
# The pictures of docs/adain.md and docs/fast.md, of our own still life: scripts/paint_examples.sh
set -euo pipefail
cd "$(dirname "$0")/.."
work=outputs/examples
still=$work/still/images/frame_0000.png
[ -f "$still" ] || python scripts/make_scene.py $work/still --size 512 --height 384 --train 3 --test 1
python - $work <<'PY'
import sys
from pathlib import Path
import torch
from arf import image
left = torch.zeros(384, 512, 3)
left[:, :256] = 1
image.write(Path(sys.argv[1]) / "left.png", left)
image.write(Path(sys.argv[1]) / "right.png", 1 - left)
PY
styles=data/styles
for style in geometric strokes stained_glass; do
    arf adain $still --style $styles/$style.jpg --output $work/adain-$style.png
done
arf adain $still --style $styles/strokes.jpg --preserve-color luminance --output $work/adain-luminance.png
arf adain $still --style $styles/woodcut.jpg --mask $work/left.png --style $styles/geometric.jpg \
    --mask $work/right.png --output $work/adain-masks.png
arf adain $still --style $styles/woodcut.jpg --alpha 0.6 --output $work/adain-alpha.png
for style in geometric mosaic pointillism stained_glass strokes woodcut; do
    arf fast $still --style $style --output $work/fast-$style.png
done
arf fast $still --model stained_glass --output $work/fast-single-1.png
arf fast $still --model strokes --output $work/fast-single-2.png
python - $work docs/pictures <<'PY'
import sys
from pathlib import Path
from arf import image
work, docs = map(Path, sys.argv[1:])
def sheet(name, *rows):
    pictures = [[image.read(work / f"{part}.png") for part in row] for row in rows]
    image.write(docs / f"{name}.jpg", image.contact_sheet(pictures, 240), quality=88)
sheet("adain", [f"adain-{part}" for part in ("geometric", "strokes", "stained_glass")], ["adain-alpha", "adain-luminance", "adain-masks"])
sheet("fast", *[[f"fast-{part}" for part in row] for row in (
    ("geometric", "mosaic", "pointillism", "stained_glass"), ("strokes", "woodcut", "single-1", "single-2"))])
PY
