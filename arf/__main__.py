"""`python -m arf`, which is what torchrun starts."""

import sys

from arf.cli import main

if __name__ == "__main__":
    sys.exit(main())
