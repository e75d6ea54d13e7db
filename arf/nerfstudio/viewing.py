"""`arf view`: nerfstudio's viewer on a finished run. The run is read as JSON and tensors; nothing in it is executed."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, ViewerConfig
from nerfstudio.models.base_model import Model
from nerfstudio.utils import writer
from nerfstudio.utils.writer import EventName
from nerfstudio.viewer.render_state_machine import RenderStateMachine
from nerfstudio.viewer.utils import CameraState, get_camera
from nerfstudio.viewer.viewer import Viewer
from torch import Tensor
from viser import ClientHandle

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.runs import Run
from arf.radiance.capture.capture import Capture, Views
from arf.radiance.scene import open_photoreal, open_stylized

FRAMES_PER_SECOND = 6  # of the viewer while the camera moves, on a CPU
TRIAL = 32  # pixels along each side of the picture that shows how fast it is


class Photographs:
    """Views as the viewer draws them: a frustum for each camera, the photograph in it."""

    def __init__(self, views: Views) -> None:
        self.views, self.cameras = views, views.cameras

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> dict[str, Float[Tensor, "h w 3"]]:
        return {"image": self.views.image(i)}


def view(run: Run, host: str, port: int, device: str, ready: Callable[[str], None]) -> None:
    """Show a run until the process is interrupted.

    Args:
        ready: called with the viewer's address as soon as a browser can open it.

    Raises:
        UserError: the port cannot be had, or the run cannot be opened.
        KeyboardInterrupt: the way out.
    """
    check_port(host, port)
    model, capture = (open_stylized if run.info["kind"] == "stylize" else open_photoreal)(run, pick_device(device))
    viewer = start_viewer(model, capture, run.path, host, port)
    try:
        ready(f"http://{host}:{viewer.viser_server.get_port()}")
        while True:
            time.sleep(0.1)
    finally:
        stop_viewer(viewer)


def check_port(host: str, port: int) -> None:
    """See that the viewer can listen there, before anything is opened; viser would quietly take the next free port.

    Raises:
        UserError: it cannot.
    """
    if not 1 <= port <= 65535:
        raise UserError(f"port is {port}; it must be between 1 and 65535")
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"the viewer cannot listen at {host}:{port} ({why}); try another --port or --host") from error


def start_viewer(model: Model, capture: Capture, folder: Path, host: str, port: int) -> Viewer:
    """nerfstudio's viewer in threads of this process.

    Args:
        folder: where the viewer's camera paths go; the commands that it suggests name its config.yml.
    """
    logging = LoggingConfig(local_writer=LocalWriterConfig(enable=False))
    photographs = Photographs(capture.train)
    manager = SimpleNamespace(includes_time=False, train_dataset=photographs)
    with contextlib.redirect_stdout(io.StringIO()):  # banners; the caller says where to look
        writer.setup_local_writer(logging, max_iter=1)  # measures how fast pictures are, from which their size follows
        viewer = Viewer(
            ViewerConfig(websocket_host=host, websocket_port=port),
            log_filename=folder / "viewer_log_filename.txt",  # only its folder is used
            datapath=folder,
            pipeline=SimpleNamespace(model=model, datamanager=manager),
            train_lock=threading.Lock(),
        )
        viewer.pause_train.visible = viewer.resume_train.visible = False  # there is no training
        viewer.init_scene(train_dataset=photographs, train_state="completed")
    suit_device(viewer, model, capture.train.cameras)
    return viewer


def stop_viewer(viewer: Viewer) -> None:
    """End the viewer's threads and wait for them: Python aborts where one still renders when it exits."""
    for thread in threading.enumerate():
        if isinstance(thread, RenderStateMachine) and thread.viewer is viewer:
            thread.running, thread.interrupt_render_flag = False, True
            thread.join()
    viewer.viser_server.stop()


def suit_device(viewer: Viewer, model: Model, cameras: Cameras) -> None:
    """Make moving pictures on a CPU as large as they can be at few frames per second, from the first one on.

    nerfstudio begins with a GPU's guess, and for its 30 per second they would be 30 pixels high.
    """
    if model.device.type != "cpu":
        return
    trial = get_camera(CameraState(1.0, 1.0, cameras.camera_to_worlds[0], CameraType.PERSPECTIVE), TRIAL, TRIAL)
    start = time.perf_counter()
    model.get_outputs_for_camera(trial)
    writer.put_time(EventName.VIS_RAYS_PER_SEC, TRIAL**2 / (time.perf_counter() - start), step=0, avg_over_steps=True)

    @viewer.viser_server.on_client_connect
    def _(client: ClientHandle) -> None:
        viewer.render_statemachines[client.client_id].target_fps = FRAMES_PER_SECOND
