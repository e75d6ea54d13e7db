#!/usr/bin/env bash
# The models that come with arf: scripts/train_models.sh PHOTOS PAINTINGS. An hour or less for each on one CPU core.
set -euo pipefail
cd "$(dirname "$0")/.."
photos=$1 paintings=$2
train() {  # name, then the words after `arf train`
    name=$1
    shift
    run=$(arf train "$@" --content "$photos" --config configs/laptop.yaml --output outputs/models --json |
        python -c 'import json, sys; print(json.load(sys.stdin)["run"])')
    cp "$run/model.safetensors" "arf/networks/models/$name.safetensors"
}
train fast-stained_glass fast --style data/styles/stained_glass.jpg
train fast-strokes fast --style data/styles/strokes.jpg --init arf/networks/models/fast-stained_glass.safetensors --steps 700
train fast-many many --style data/styles --steps 2600 --crop 160 --batch 6
train fast-many many --style data/styles --init arf/networks/models/fast-many.safetensors --steps 700 --batch 6 \
    --learning-rate 1e-3 --style-strength 3
coarse=(--crop 128 --batch 8 --steps 7000 --learning-rate 1e-3)
train adain-compact adain --style "$paintings" "${coarse[@]}" --style-strength 10
train adain-compact adain --style "$paintings" --init arf/networks/models/adain-compact.safetensors \
    --load 288 --batch 4 --steps 5000 --learning-rate 1e-3 --style-strength 3
train cast-compact cast --style "$paintings" --init compact --steps 2200 --crop 160 --load 192 --batch 4 \
    --learning-rate 3e-4 --content-weight 4 --style-strength 0.05
