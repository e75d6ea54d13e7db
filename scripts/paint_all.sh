#!/usr/bin/env bash
# A film for every painting in a folder: scripts/paint_all.sh CAPTURE PAINTINGS [arf fit's arguments]
# Fits the capture once (or takes the newest fit below outputs/), then repaints it with each picture, and films them.
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
titles=() styles=()
while IFS= read -r -d '' picture; do
    titles+=("$(basename "${picture%.*}")")
    styles+=(--style "$picture")
done < <(find "$paintings" -maxdepth 1 -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) -print0 | sort -z)
if [ ${#titles[@]} = 0 ]; then
    echo "paint_all.sh: no .jpg or .png pictures in $paintings" >&2
    exit 2
fi
made=$(arf stylize "outputs/$name" "${styles[@]}" --each --json)
mapfile -t runs < <(python -c 'import json, sys; made = json.loads(sys.argv[1]); print(*made.get("runs", [made.get("run")]), sep="\n")' "$made")
for i in "${!runs[@]}"; do
    arf render "${runs[$i]}" --output "outputs/$name/films/${titles[$i]}.mp4" --no-png --overwrite
done
echo "${#runs[@]} films in outputs/$name/films"
