#!/usr/bin/env bash
# A film for every painting in a folder: scripts/paint_all.sh CAPTURE PAINTINGS [arf fit's arguments]
# Fits the capture once (or takes the newest fit below outputs/), then repaints and films it with each picture.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
capture=$(realpath "$1") paintings=$(realpath "$2")
shift 2
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
name=$(basename "$capture")
find "outputs/$name"/arf-* -name model.safetensors 2>/dev/null | grep -q . || arf fit "$capture" "$@"
found=0
while IFS= read -r -d '' picture; do
    found=$((found + 1))
    title=$(basename "${picture%.*}")
    run=$(arf stylize "outputs/$name" --style "$picture" --json | python -c 'import json, sys; print(json.load(sys.stdin)["run"])')
    arf render "$run" --output "outputs/$name/films/$title.mp4" --no-png --overwrite
done < <(find "$paintings" -maxdepth 1 -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) -print0 | sort -z)
if [ "$found" = 0 ]; then
    echo "paint_all.sh: no .jpg or .png pictures in $paintings" >&2
    exit 2
fi
echo "$found films in outputs/$name/films"
