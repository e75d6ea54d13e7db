#!/usr/bin/env bash
# Kill every long command at random moments, 8 times each and more, go on, and compare the results byte for byte.
# Writes outputs/soak.md; an hour on one core. Arguments: --commands fit gatys, --ways KILL "TERM, TERM", --kills 2, --seed 1
set -euo pipefail
extras=test
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
mkdir -p outputs
nice python tests/reliability/kills.py --report outputs/soak.md "$@"
