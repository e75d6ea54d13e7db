"""A run as something that can be looked at."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from arf.jobs.device import pick_device
from arf.jobs.files import below
from arf.jobs.runs import Run
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.views import Views
from arf.radiance.fields.field import Field
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_model
from arf.radiance.viewer.editor import PATHS
from arf.radiance.viewer.guard import check_port
from arf.radiance.viewer.viewer import view


def view_run(
    run: Run, host: str, port: int, device: str, ready: Callable[[str], None], allow_outside: bool = False
) -> None:
    """`arf.radiance.viewer.viewer.view` of a run.

    Raises:
        UserError: the port cannot be had, the run cannot be opened, or its folder of camera paths lies elsewhere.
        KeyboardInterrupt: the way out.
    """
    check_port(host, port)  # before anything is opened
    below(run.folder, PATHS)
    field, painted, capture = open_model(run, pick_device(device), allow_outside)
    scene = OpenedScene(field, painted.look if painted else None, capture.train)
    view(scene, run.folder, host, port, ready, run.path)


class OpenedScene:
    """A field, under a look if there is one, as the viewer wants it (`arf.radiance.viewer.scene.Scene`)."""

    def __init__(self, field: Field, look: Look | None, views: Views) -> None:
        self.field, self.look, self.views = field, look, views

    @property
    def painted(self) -> bool:
        return self.look is not None

    @torch.no_grad()
    def render(self, camera: Camera, strength: float, preserve_color: bool) -> Float[Tensor, "h w 3"]:
        """What the camera sees, on the CPU."""
        return painting(self.field, self.look, camera, strength, preserve_color)
