"""A client of nerfstudio's viewer without a browser: viser's messages, msgpack over a websocket."""

from __future__ import annotations

import io
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import torch
import viser.transforms as vtf
from nerfstudio.viewer.render_state_machine import RenderStateMachine
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO, Viewer
from PIL import Image
from torch import Tensor
from websockets.sync.client import connect

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.field import Field
from arf.radiance.looks.painted import Painted, picture

FOV = 0.8  # radians, of the whole height
SIZE = 64  # of the pictures here, once a client has asked for it
PATIENCE = 100.0  # seconds without a message, after which something hangs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def shown(field: Field, painted: Painted | None, pose: Tensor) -> Tensor:
    """Our own rendering [h, w, 3] through the camera that a client looks through: of the painting, if there is one."""
    focal = SIZE / 2 / math.tan(FOV / 2)
    camera = Camera(pose, focal, focal, SIZE / 2, SIZE / 2, SIZE, SIZE)
    if painted is None:
        return picture(field, None, camera)
    return picture(field, painted.look, camera, drop=painted.drop)[..., 3:]


def close(a: Tensor, b: Tensor) -> bool:
    """The same picture, but for JPEG."""
    return a.shape == b.shape and float((a - b).abs().mean()) < 0.03


class Client:
    """One connected viewer; pictures come once it has looked somewhere.

    Attributes:
        elements: the control panel, id by label.
    """

    def __init__(self, port: int) -> None:
        self.socket = connect(f"ws://localhost:{port}", max_size=None, open_timeout=PATIENCE)
        self.elements: dict[str, str] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def look(self, pose: Tensor) -> None:
        """Look through a square camera of the scene, [3, 4] in nerfstudio's axes."""
        turned = vtf.SO3.from_matrix(pose[:3, :3].double().numpy()) @ vtf.SO3.from_x_radians(np.pi)
        position = tuple((pose[:, 3] * VISER_NERFSTUDIO_SCALE_RATIO).tolist())
        self.send(
            "ViewerCameraMessage", wxyz=tuple(turned.wxyz.tolist()), position=position, fov=FOV, aspect=1.0,
            look_at=(0.0, 0.0, 0.0), up_direction=(0.0, 0.0, 1.0),
        )  # fmt: skip

    def set(self, label: str, value: Any) -> None:
        """Change a control, or press a button with True."""
        self.send("GuiUpdateMessage", id=self.elements[label], updates={"value": value})

    def picture(self, wanted: Callable[[Tensor], bool]) -> Tensor:
        """The next picture [h, w, 3] that is as wanted."""
        while True:
            for message in msgspec.msgpack.decode(self.socket.recv(timeout=PATIENCE)):
                if "label" in message and "id" in message:
                    self.elements[message["label"]] = message["id"]
                if message["type"] == "BackgroundImageMessage":
                    pixels = Image.open(io.BytesIO(message["rgb_bytes"])).convert("RGB")
                    picture = torch.from_numpy(np.array(pixels)).float() / 255
                    if wanted(picture):
                        return picture


def stop_viewer(viewer: Viewer) -> None:
    """End the threads of nerfstudio's viewer and wait for them: Python aborts where one still renders at its exit."""
    for thread in threading.enumerate():
        if isinstance(thread, RenderStateMachine) and thread.viewer is viewer:
            thread.running, thread.interrupt_render_flag = False, True
            thread.join()
    viewer.viser_server.stop()
