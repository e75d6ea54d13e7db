"""`arf view`: a scene in a browser."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
import viser
from viser import ClientHandle

from arf.jobs.interrupts import held_interrupts
from arf.radiance.viewer.draft import Draft, within
from arf.radiance.viewer.editor import Editor
from arf.radiance.viewer.frustums import Frustums
from arf.radiance.viewer.guard import listen
from arf.radiance.viewer.guide import Guide
from arf.radiance.viewer.renderer import Picture, Renderer, Wish
from arf.radiance.viewer.scene import Scene
from arf.radiance.viewer.server import Server
from arf.radiance.viewer.world import Gaze, World

QUALITY = {True: 92, False: 75}  # of JPEG, sharp or not


def view(
    scene: Scene, folder: Path, host: str, port: int, ready: Callable[[str], None], run: Path | None = None
) -> None:
    """Show a scene until the process is interrupted.

    Args:
        folder: where camera paths are saved, in its camera_paths.
        run: what `arf render` films; the folder unless given.
        host, port: where to listen.
        ready: called with the viewer's address as soon as a browser can open it.

    Raises:
        UserError: as `listen`, and as the scene when it renders.
        KeyboardInterrupt: the way out.
    """
    viewer = Viewer(scene, folder, run)
    try:
        with held_interrupts():
            viewer.open(host, port)
        ready(viewer.url)
        viewer.wait()
    finally:
        with held_interrupts():
            viewer.close()


class Viewer:
    """The controls are the same for all visitors, and each has a picture of their own.

    Attributes:
        url: where it is, once it is open.
        editor: of camera paths, once it is open.
    """

    def __init__(self, scene: Scene, folder: Path, run: Path | None = None) -> None:
        self.scene, self.folder, self.run = scene, folder, run or folder
        self.world = World.of(scene.views.cameras)
        first = scene.views.cameras[0]
        wxyz, _ = self.world.place(first.pose)
        start = Gaze(wxyz, tuple(first.pose[:, 3].tolist()), self.world.fov, first.width / first.height)
        self.renderer = Renderer(scene, self._show, start)
        self.guide = Guide(self.world)
        self.url = ""
        self._server: Server | None = None
        self._visitors: dict[int, ClientHandle] = {}

    def open(self, host: str, port: int) -> None:
        """Serve in threads of this process. Raises UserError as `listen`."""
        self._server = Server(host, listen(host, port))
        self.url = self._server.guard.url
        self._server.scene.set_up_direction(tuple(self.world.up.tolist()))
        self._build()
        self._server.on_client_connect(self._welcome)
        self._server.on_client_disconnect(self._farewell)
        self.renderer.start()

    def wait(self) -> None:
        """Return when the renderer has ended, or raise what ended it."""
        # no `join`: an interrupt makes Python < 3.13 take the thread for ended. The limit lets it in on Windows.
        while not self.renderer.ended.wait(0.2):
            pass
        if self.renderer.error is not None:
            raise self.renderer.error

    def close(self) -> None:
        """End all threads and wait for them."""
        self.guide.close()
        self.renderer.stop()
        if self._server is not None:
            self._frustums.close()
            self._server.stop()
            self._server = None

    def _build(self) -> None:
        server, gui, first = self._server, self._server.gui, self.scene.views.cameras[0]
        if hasattr(viser, "__version__"):  # 0.2.7 has none, and its page breaks without the button, which does nothing
            gui.configure_theme(show_share_button=False)
        gui.set_panel_label("arf")
        self._frustums = Frustums(server, self.scene.views, self.guide)
        self._strength = self._preserve = None
        if self.scene.painted:
            with gui.add_folder("Style"):
                self._strength = gui.add_slider("Style strength", 0.0, 1.0, 0.01, 1.0)
                self._preserve = gui.add_checkbox("Keep the photographs' colours", False)
            for control in (self._strength, self._preserve):
                control.on_update(lambda _: self._look_again())
        with gui.add_folder("View"):
            reset = gui.add_button("Reset view", hint="Back to the first camera of the capture.")
            tilt = gui.add_button("This way is up", hint="Turn about what is up in the view that you have now.")
            cameras = gui.add_checkbox("Show cameras", False, hint="Click on one to go there.")
        reset.on_click(lambda event: self.guide.welcome(event.client))
        tilt.on_click(lambda event: self.guide.tilt(event.client))
        cameras.on_update(lambda _: self._frustums.show(cameras.value))
        fov = within("fov", round(math.degrees(self.world.fov)))
        self.editor = Editor(server, self.guide, self.run, self.folder, Draft(fov, *first.size[::-1]))

    def _welcome(self, visitor: ClientHandle) -> None:
        self._visitors[visitor.client_id] = visitor
        self.guide.welcome(visitor)
        visitor.camera.on_update(lambda _: self._look(visitor))
        self._look(visitor)

    def _farewell(self, visitor: ClientHandle) -> None:
        self._visitors.pop(visitor.client_id, None)
        self.renderer.forget(visitor.client_id)
        self.guide.forget(visitor)

    def _look(self, visitor: ClientHandle) -> None:
        """Paint what the visitor sees, from now on."""
        look = self.world.look(visitor.camera)
        if look.possible and visitor.client_id in self._visitors:
            strength = 1.0 if self._strength is None else float(self._strength.value)
            self.renderer.ask(visitor.client_id, Wish(look, strength, bool(self._preserve and self._preserve.value)))
        positions = [self.world.look(other.camera).position for other in self._visitors.copy().values()]
        for nodes in (self._frustums.nodes, self.editor.nodes):
            nodes.keep_clear(torch.tensor(positions).reshape(-1, 3))

    def _look_again(self) -> None:
        for visitor in self._visitors.copy().values():
            self._look(visitor)

    def _show(self, visitor: int, picture: Picture, sharp: bool) -> None:
        if handle := self._visitors.get(visitor):
            handle.scene.set_background_image(picture, format="jpeg", jpeg_quality=QUALITY[sharp])
