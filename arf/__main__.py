"""Where the program begins: `arf`, and `python -m arf`, which is what torchrun starts."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Load the command line and run it; the exit code. Ctrl-C ends the loading too without a traceback."""
    try:
        from arf.cli import main as command
    except KeyboardInterrupt:
        print("arf: stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    return command()


if __name__ == "__main__":
    sys.exit(main())
