#!/usr/bin/env bash
# Set up (once), then go the whole way: photographs -> radiance field -> painting -> film.
#
#   scripts/demo.sh                        a still life that is rendered on the spot, and a painting of our own
#   scripts/demo.sh CAPTURE PICTURE [...]  your photographs, your picture; further arguments go to `arf fit`
set -euo pipefail
capture=${1:+$(realpath "$1")} picture=${2:+$(realpath "$2")}
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
if [ -z "$capture" ]; then
    capture=outputs/captures/still-life
    [ -f "$capture/transforms.json" ] || python scripts/make_scene.py "$capture"
    set -- "$capture" data/styles/strokes.jpg --config configs/object.yaml --steps 800
    picture=$2
fi
shift 2
arf fit "$capture" "$@"
arf stylize "outputs/$(basename "$capture")" --style "$picture"
arf render "outputs/$(basename "$capture")/arf" --compare
