#!/usr/bin/env bash
# Set up (once), then `arf demo`: a still life is fitted, repainted in two pictures and filmed. No download, no GPU.
#
#   scripts/demo.sh [--quick] [--style your-picture.jpg] [...]     arguments go to `arf demo`
set -euo pipefail
here=$PWD
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$here"
arf demo "$@"
