"""Run by Python at its start when this folder is on PYTHONPATH: importing nerfstudio fails as where it is absent."""

import sys

sys.modules["nerfstudio"] = None
