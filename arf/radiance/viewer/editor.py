"""The panel in which camera paths for films are made. It is one for all visitors, and outlives a reload of the page."""

from __future__ import annotations

import math
import shlex
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from viser import ClientHandle, GuiEvent

from arf.errors import UserError
from arf.radiance.paths.splines import smooth_poses
from arf.radiance.viewer.draft import RANGES, Draft, saved_names, within
from arf.radiance.viewer.frustums import Nodes, add_frustum
from arf.radiance.viewer.guide import Guide
from arf.radiance.viewer.server import Server

PATHS = "camera_paths"  # folder of a run
NONE = "none"  # where a list is empty: viser's lists cannot be
DRAWN = 100  # points of the curve
ORANGE = (230, 110, 20)


class Editor:
    """
    Attributes:
        draft: the path as the panel shows it.
        nodes: its keyframes and their curve in viser's world.
    """

    def __init__(self, server: Server, guide: Guide, run: Path, folder: Path, draft: Draft) -> None:
        """
        Args:
            run: what is filmed along a path.
            folder: paths are kept in its folder `PATHS`.
            draft: to begin with.
        """
        self.server, self.guide, self.run, self.draft = server, guide, run, draft
        self.folder = folder / PATHS
        self._lock = threading.RLock()
        self.nodes = Nodes(guide.world.size, shown=True)
        self._build()
        self._listen()

    def _build(self) -> None:
        gui, draft = self.server.gui, self.draft
        ranges = {name: {"min": low, "max": high} for name, (low, high) in RANGES.items()}
        with gui.add_folder("Camera path", expand_by_default=False):
            self._add = gui.add_button("Add keyframe", hint="What you see now becomes the last keyframe of the path.")
            self._chosen = gui.add_dropdown("Keyframe", [NONE])
            self._go = gui.add_button("Go to keyframe", color="gray")
            self._remove = gui.add_button("Remove keyframe", color="gray")
            self._earlier = gui.add_button("Keyframe earlier", color="gray")
            self._later = gui.add_button("Keyframe later", color="gray")
            self._values = {
                "fov": gui.add_slider("Field of view", *RANGES["fov"], 0.5, draft.fov, hint="From top to bottom, in °"),
                "width": gui.add_number("Width", draft.width, step=1, **ranges["width"]),
                "height": gui.add_number("Height", draft.height, step=1, **ranges["height"]),
                "fps": gui.add_number("Frames/s", draft.fps, step=1.0, **ranges["fps"]),
                "seconds": gui.add_number("Seconds", draft.seconds, step=0.5, **ranges["seconds"]),
                "loop": gui.add_checkbox("Loop", draft.loop, hint="Go on from the last keyframe to the first."),
            }
            self._play = gui.add_button("Play or stop")
            self._name = gui.add_text("Name", "path")
            self._save = gui.add_button("Save")
            self._film = gui.add_text("Film it", "", visible=False, hint="In a terminal. Copy the whole line.")
            self._saved = gui.add_dropdown("Saved", saved_names(self.folder) or [NONE])
            self._load = gui.add_button("Load", color="gray", hint="In place of the path that you have.")

    def _listen(self) -> None:
        self._add.on_click(self._told(self._add_key))
        self._go.on_click(self._told(self._go_to_key))
        self._remove.on_click(self._told(self._remove_key))
        self._earlier.on_click(self._told(lambda _: self._move_key(-1)))
        self._later.on_click(self._told(lambda _: self._move_key(1)))
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

    def _go_to_key(self, visitor: ClientHandle) -> None:
        with self._lock:
            key = self.draft.keys[self._place()]
        self.guide.go(visitor, key)

    def _remove_key(self, _: ClientHandle) -> None:
        with self._lock:
            i = self._place()
            del self.draft.keys[i]
            self._show_keys(i)

    def _move_key(self, by: int) -> None:
        with self._lock:
            i, keys = self._place(), self.draft.keys
            to = min(max(i + by, 0), len(keys) - 1)
            keys.insert(to, keys.pop(i))
            self._show_keys(to)

    def _place(self) -> int:
        """Of the chosen keyframe."""
        if not self.draft.keys or self._chosen.value not in self._chosen.options:
            raise UserError("there is no keyframe yet; add one")
        return self._chosen.options.index(self._chosen.value)

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
        self.nodes.remove()
        for i, camera in enumerate(self.draft.cameras(self.draft.keys)):
            node = add_frustum(self.server, f"/path/{i}", camera, self.guide, ORANGE)
            self.nodes.add(node, camera.pose[None, :, 3])
        if len(self.draft.keys) > 1:
            curve = smooth_poses(torch.stack(self.draft.keys), DRAWN, self.draft.loop)[:, :, 3]
            drawn = (curve.double() * self.guide.world.scale).numpy()
            node = self.server.scene.add_spline_catmull_rom("/path/curve", drawn, color=ORANGE, closed=self.draft.loop)
            self.nodes.add(node, curve)

    def _preview(self, visitor: ClientHandle) -> None:
        """Through the film's lens."""
        if self.guide.land(visitor):
            return
        with self._lock:
            poses, draft = self.draft.poses(), self.draft
        fov = visitor.camera.fov
        visitor.camera.fov = math.radians(draft.fov)
        self.nodes.show(False)
        try:
            self.guide.fly(visitor, poses, draft.seconds, draft.loop)
        finally:
            self.nodes.show(True)
            visitor.camera.fov = fov

    def _save_as(self, visitor: ClientHandle) -> None:
        with self._lock:
            file = self.draft.save(self.folder, self._name.value)
            self._saved.options = saved_names(self.folder)
            self._saved.value = file.stem
            self._film.value = f"arf render {shlex.quote(str(self.run))} --path {shlex.quote(str(file))}"
            self._film.visible = True
        self.guide.tell(visitor, f"Saved {file.name}", f"In the folder {file.parent}")

    def _load_from(self, visitor: ClientHandle) -> None:
        name = self._saved.value
        if name not in saved_names(self.folder):  # a page may send anything
            raise UserError("no path is saved under that name; save one first")
        with self._lock:
            self.draft = Draft.load(self.folder / f"{name}.json")
            for value, control in self._values.items():
                control.value = getattr(self.draft, value)
            self._show_keys(0)
