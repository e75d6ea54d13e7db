"""nerfstudio's viewer, as `ns-train arf` shows the painting in it."""

from __future__ import annotations

import time

from nerfstudio.cameras.cameras import CameraType
from nerfstudio.models.base_model import Model
from nerfstudio.utils import writer
from nerfstudio.utils.writer import EventName
from nerfstudio.viewer.utils import CameraState, get_camera
from nerfstudio.viewer.viewer import Viewer
from viser import ClientHandle

from arf.radiance.capture.cameras import Cameras

FRAMES_PER_SECOND = 6  # of the viewer while the camera moves, on a CPU
TRIAL = 32  # pixels along each side of the picture that shows how fast it is


def suit_device(viewer: Viewer, model: Model, cameras: Cameras) -> None:
    """Make moving pictures on a CPU as large as they can be at few frames per second, from the first one on.

    nerfstudio begins with a GPU's guess, and for its 30 per second they would be 30 pixels high.
    """
    if model.device.type != "cpu":
        return
    trial = get_camera(CameraState(1.0, 1.0, cameras.poses[0], CameraType.PERSPECTIVE), TRIAL, TRIAL)
    start = time.perf_counter()
    model.get_outputs_for_camera(trial)
    writer.put_time(EventName.VIS_RAYS_PER_SEC, TRIAL**2 / (time.perf_counter() - start), step=0, avg_over_steps=True)

    @viewer.viser_server.on_client_connect
    def _(client: ClientHandle) -> None:
        viewer.render_statemachines[client.client_id].target_fps = FRAMES_PER_SECOND
