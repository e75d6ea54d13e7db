"""A scene whose colours tell directions, and visitors of its viewer without a browser, whichever viser it is."""

from __future__ import annotations

import dataclasses
import io
import math
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import torch
import viser
from PIL import Image
from torch import Tensor
from viser import _messages
from viser.transforms import SO3
from websockets.sync.client import connect

from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.poses import look_at

VERSION = getattr(viser, "__version__", None)  # where a client has to name it
PATIENCE = 30.0  # seconds, after which something hangs
Message = dict[str, Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition: Callable[[], Any]) -> Any:
    """Wait for another thread."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
    return value


class Compass:
    """Six cameras around the origin, and nothing but sky: its colour is (1 + direction) / 2, times the style."""

    def __init__(self, painted: bool = True, height: int = 120) -> None:
        angles = torch.arange(6) * math.pi / 3
        positions = torch.stack([3 * angles.cos(), 3 * angles.sin(), torch.full((6,), 0.5)], 1)
        poses = look_at(positions, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
        self.cameras = Cameras.of(poses, 100.0, 100.0, 80.0, height / 2, 160, height)
        self.views = Photographs(self.cameras)
        self.painted = painted
        self.rendered: list[Camera] = []

    def render(self, camera: Camera, strength: float, preserve_color: bool) -> Tensor:
        self.rendered.append(camera)
        return sky(camera, strength, preserve_color)


class Photographs:
    """Views whose photographs are of one colour each."""

    def __init__(self, cameras: Cameras) -> None:
        self.cameras = cameras

    def __len__(self) -> int:
        return len(self.cameras)

    def image(self, i: int) -> Tensor:
        return torch.full((*self.cameras.size(i), 3), i / len(self))


def sky(camera: Camera, strength: float = 1.0, preserve_color: bool = False) -> Tensor:
    """[h, w, 3]"""
    _, directions = camera.rays()
    colors = (1 + directions.reshape(camera.height, camera.width, 3)) / 2
    colors = colors.flip(-1) if preserve_color else colors
    return colors * (0.2 + 0.8 * strength)


def close(a: Tensor, b: Tensor) -> bool:
    """The same picture but for JPEG."""
    return a.shape == b.shape and float((a - b).abs().mean()) < 0.015


class Visitor:
    """One open page: it follows where the server puts its camera, and says so, as a browser does.

    Attributes:
        camera: position, look_at and up_direction in viser's world, and fov.
        elements: the control panel, id by label.
        options: of its lists, by label.
        values: of its controls, by label, as the server has set them.
        visible: whether one sees what stands in the world, by name.
        notes: (title, body) of what it was told.
    """

    def __init__(self, port: int, aspect: float = 1.5) -> None:
        address = f"127.0.0.1:{port}"
        self.socket = connect(
            f"ws://{address}", origin=f"http://{address}", max_size=None, open_timeout=PATIENCE,
            subprotocols=[f"viser-v{VERSION}"] if VERSION else None,
        )  # fmt: skip
        self.aspect = aspect
        self.camera: dict[str, Any] = {"position": [3.0] * 3, "look_at": [0.0] * 3, "up_direction": [0.0, 0.0, 1.0]}
        self.camera["fov"] = 1.3
        self.elements: dict[str, str] = {}
        self.options: dict[str, list[str]] = {}
        self.values: dict[str, Any] = {}
        self.visible: dict[str, bool] = {}
        self.notes: list[tuple[str, str]] = []
        self.say_camera()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, kind: str, **values: Any) -> None:
        """A message, of which only the fields that this viser knows go out."""
        known = {field.name for field in dataclasses.fields(getattr(_messages, kind))}
        values = {name: value for name, value in values.items() if name in known}
        self.socket.send(msgspec.msgpack.encode({"type": kind, **values}))

    def say_camera(self) -> None:
        position, target, up = (np.array(self.camera[k], float) for k in ("position", "look_at", "up_direction"))
        z = (target - position) / np.linalg.norm(target - position)
        x = np.cross(z, up)
        x /= np.linalg.norm(x)
        wxyz = SO3.from_matrix(np.stack([x, np.cross(z, x), z], 1)).wxyz.tolist()
        size = {"image_width": round(800 * self.aspect), "image_height": 800, "aspect": self.aspect}
        self.send("ViewerCameraMessage", wxyz=wxyz, near=0.01, far=1000.0, **size, **self.camera)

    def move(self, **camera: Any) -> None:
        self.camera.update(camera)
        self.say_camera()

    def set(self, label: str, value: Any) -> None:
        """Change a control, or press a button with True."""
        self.until(lambda: label in self.elements)
        name = "uuid" if "uuid" in _messages.GuiUpdateMessage.__annotations__ else "id"
        self.send("GuiUpdateMessage", **{name: self.elements[label]}, updates={"value": value})

    def click(self, node: str) -> None:
        """On something in the world."""
        self.until(lambda: node in self.visible)
        where = {"ray_origin": (0.0,) * 3, "ray_direction": (0.0, 0.0, 1.0), "screen_pos": (0.5, 0.5)}
        self.send("SceneNodeClickMessage", name=node, instance_index=None, modifier=None, owner="", **where)

    def picture(self, wanted: Callable[[Tensor], Any]) -> Tensor:
        """The next picture [h, w, 3] that is as wanted."""
        while True:
            for picture in self.receive():
                if wanted(picture):
                    return picture

    def until(self, condition: Callable[[], Any]) -> Any:
        """Take messages until something has come true."""
        while not (value := condition()):
            self.receive()
        return value

    def receive(self) -> list[Tensor]:
        """Take in some messages; returns the pictures among them."""
        pictures, moved = [], False
        for message in _decode(self.socket.recv(timeout=PATIENCE)):
            kind, inner = message["type"], {**message, **message.get("props", {})}
            if kind == "BackgroundImageMessage":
                if (data := inner.get("rgb_data") or inner.get("rgb_bytes")) is None:
                    continue
                pixels = Image.open(io.BytesIO(data)).convert("RGB")
                pictures.append(torch.from_numpy(np.array(pixels)).float() / 255)
            elif kind.startswith("SetCamera"):
                name = {"SetCameraUpDirectionMessage": "up_direction"}.get(kind)
                values = {k: v for k, v in message.items() if k in ("position", "look_at", "fov")}
                self.camera.update({name: message["position"]} if name else values)
                moved = True
            elif kind.startswith("Notification"):
                self.notes.append((inner["title"], inner["body"]))
            elif kind == "GuiUpdateMessage":
                self._update(message.get("uuid") or message["id"], message["updates"])
            elif kind == "RemoveSceneNodeMessage":
                self.visible.pop(message["name"], None)
            elif kind == "SetSceneNodeVisibilityMessage" and message["name"] in self.visible:
                self.visible[message["name"]] = message["visible"]
            elif "label" in inner and ("uuid" in inner or "id" in inner):
                self.elements[inner["label"]] = inner.get("uuid") or inner["id"]
                self._update(self.elements[inner["label"]], inner)
            elif message.get("name", "").startswith("/") and kind.endswith(("FrustumMessage", "SplineMessage")):
                self.visible[message["name"]] = True
        if moved:
            self.say_camera()
        return pictures

    def _update(self, element: str, updates: Message) -> None:
        label = next((label for label, known in self.elements.items() if known == element), None)
        if label is not None and "value" in updates:
            self.values[label] = updates["value"]
        if label is not None and "options" in updates:
            self.options[label] = list(updates["options"])


def _decode(raw: bytes) -> list[Message]:
    size = int.from_bytes(raw[8:16], "little")  # of what is compressed, in viser 1.1
    if 16 + size <= len(raw):
        import zstandard

        raw = zstandard.decompress(raw[16 : 16 + size])
    window = msgspec.msgpack.decode(raw)
    return window["messages"] if isinstance(window, dict) else window
