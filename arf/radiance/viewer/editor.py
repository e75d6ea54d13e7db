"""The panel in which camera paths for films are made. It is one for all visitors, and outlives a reload of the page."""

from __future__ import annotations

import math
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from viser import ClientHandle, GuiEvent

from arf.errors import UserError
from arf.radiance.film.splines import smooth_poses
from arf.radiance.viewer.draft import RANGES, Draft, saved_names, within
from arf.radiance.viewer.frustums import add_frustum
from arf.radiance.viewer.guide import Guide
from arf.radiance.viewer.server import Server

NONE = "none"  # where a list is empty: viser's lists cannot be
DRAWN = 100  # points of the curve
ORANGE = (230, 110, 20)


class Editor:
    """
    Attributes:
        draft: the path as the panel shows it.
    """

    def __init__(self, server: Server, guide: Guide, run: Path, draft: Draft) -> None:
        """
        Args:
            run: paths are kept in its folder camera_paths.
            draft: to begin with.
        """
        self.server, self.guide, self.run, self.draft = server, guide, run, draft
        self.folder = run / "camera_paths"
        self._lock = threading.RLock()
        self._nodes: list[Any] = []
        self._build()
        self._listen()

    def _build(self) -> None:
        gui, draft = self.server.gui, self.draft
        ranges = {name: {"min": low, "max": high} for name, (low, high) in RANGES.items()}
        with gui.add_folder("Camera path", expand_by_default=False):
            self._add = gui.add_button("Add keyframe", hint="What you see now becomes the last keyframe of the path.")
            self._chosen = gui.add_dropdown("Keyframe", [NONE])
            self._change = gui.add_button_group("", ["Go to", "Remove", "Earlier", "Later"])
            self._values = {
                "fov": gui.add_slider("Field of view", *RANGES["fov"], 0.5, draft.fov, hint="From top to bottom, in °"),
                "width": gui.add_number("Width", draft.width, step=1, **ranges["width"]),
                "height": gui.add_number("Height", draft.height, step=1, **ranges["height"]),
                "fps": gui.add_number("Frames/s", draft.fps, step=1.0, **ranges["fps"]),
                "seconds": gui.add_number("Seconds", draft.seconds, step=0.5, **ranges["seconds"]),
                "loop": gui.add_checkbox("Loop", draft.loop, hint="Go on from the last keyframe to the first."),
            }
            self._play = gui.add_button_group("Preview", ["Play", "Stop"])
            self._name = gui.add_text("Name", "path")
            self._save = gui.add_button("Save")
            self._saved = gui.add_dropdown("Saved", saved_names(self.folder) or [NONE])
            self._load = gui.add_button("Load")

    def _listen(self) -> None:
        self._add.on_click(self._told(self._add_key))
        self._change.on_click(self._told(self._change_key))
        self._play.on_click(self._told(self._preview))
        self._save.on_click(self._told(self._save_as))
        self._load.on_click(self._told(self._load_from))
        for value in self._values.values():
            value.on_update(self._told(self._take_values))

    def _told(self, act: Callable[[ClientHandle], None]) -> Callable[[GuiEvent], None]:
        """A callback for what visitors do, who are told of their mistakes."""

        def callback(event: GuiEvent) -> None:
            if event.client is None:  # we have set the value
                return
            try:
                act(event.client)
            except UserError as error:
                self.guide.tell(event.client, "That did not work", str(error))

        return callback

    def _add_key(self, visitor: ClientHandle) -> None:
        with self._lock:
            self.draft.keys.append(self.guide.world.look(visitor.camera).pose)
            self._show_keys(len(self.draft.keys) - 1)

    def _change_key(self, visitor: ClientHandle) -> None:
        what = self._change.value
        with self._lock:
            keys = self.draft.keys
            if not keys:
                raise UserError("there is no keyframe yet; add one")
            i = self._chosen.options.index(self._chosen.value)
            key = keys[i] if what == "Go to" else keys.pop(i)
            if what == "Remove":
                self._show_keys(i)
            elif what in ("Earlier", "Later"):
                i = max(0, i - 1) if what == "Earlier" else i + 1
                keys.insert(i, key)
                self._show_keys(i)
        if what == "Go to":
            self.guide.go(visitor, key)

    def _show_keys(self, chosen: int) -> None:
        count = len(self.draft.keys)
        self._chosen.options = [str(i + 1) for i in range(count)] or [NONE]
        self._chosen.value = self._chosen.options[max(0, min(chosen, count - 1))]
        self._draw()

    def _take_values(self, _: ClientHandle) -> None:
        with self._lock:
            for name, control in self._values.items():
                setattr(self.draft, name, control.value if name == "loop" else within(name, control.value))
            self._draw()

    def _draw(self) -> None:
        """The keyframes, and the curve through them."""
        for node in self._nodes:
            node.remove()
        cameras = self.draft.cameras(self.draft.keys)
        self._nodes = [add_frustum(self.server, f"/path/{i}", c, self.guide, ORANGE) for i, c in enumerate(cameras)]
        if len(self.draft.keys) > 1:
            curve = smooth_poses(torch.stack(self.draft.keys), DRAWN, self.draft.loop)[:, :, 3] * self.guide.world.scale
            node = self.server.scene.add_spline_catmull_rom(
                "/path/curve", curve.double().numpy(), color=ORANGE, closed=self.draft.loop
            )
            self._nodes.append(node)

    def _preview(self, visitor: ClientHandle) -> None:
        """Through the film's lens, without the path in the way."""
        self.guide.land(visitor)
        if self._play.value == "Stop":
            return
        with self._lock:
            poses, nodes, draft = self.draft.poses(), self._nodes, self.draft
        fov = visitor.camera.fov
        try:
            for node in nodes:
                node.visible = False
            visitor.camera.fov = math.radians(draft.fov)
            self.guide.fly(visitor, poses, draft.seconds, draft.loop)
        finally:
            visitor.camera.fov = fov
            for node in nodes:
                node.visible = True

    def _save_as(self, visitor: ClientHandle) -> None:
        with self._lock:
            file = self.draft.save(self.folder, self._name.value)
            self._saved.options = saved_names(self.folder)
            self._saved.value = file.stem
        film = f"arf render {shlex.quote(str(self.run))} --path {shlex.quote(str(file))}"
        self.guide.tell(visitor, f"Saved as {file}", f"Film it: {film}")

    def _load_from(self, visitor: ClientHandle) -> None:
        name = self._saved.value
        if name not in saved_names(self.folder):  # a page may send anything
            raise UserError("no path is saved under that name; save one first")
        with self._lock:
            self.draft = Draft.load(self.folder / f"{name}.json")
            for value, control in self._values.items():
                control.value = getattr(self.draft, value)
            self._show_keys(0)
