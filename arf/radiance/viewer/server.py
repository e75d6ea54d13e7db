"""viser's server, behind our guard and quiet, from version 0.2.7 on.

viser offers no door through which requests could be checked, takes the next free port where one is taken, and gives
out files of its own choosing. But all versions hand their connections to the `websockets` library, and there the guard
steps in: our socket in place of viser's port, our answers in place of viser's.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import viser
import websockets.asyncio.server
import websockets.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from arf.radiance.viewer.guard import Answer, Guard

CLIENT = Path(viser.__file__).parent / "client" / "build"
PATIENCE = 5.0  # seconds that clients have for saying goodbye

quiet = logging.getLogger(f"{__name__}.requests")  # malformed requests and lost clients are nobody's business
quiet.setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")  # viser 1.1, of clients just lost


class Server(viser.ViserServer):
    """A viser server that only its own page can talk to.

    Attributes:
        guard: answers the requests.
    """

    def __init__(self, host: str, listening: socket.socket) -> None:
        """
        Args:
            host: as the user named it.
            listening: socket on which it serves; it is closed with the server.
        """
        self.guard = Guard(host, listening, CLIENT)
        self._served: list[tuple[Any, asyncio.AbstractEventLoop, threading.Thread]] = []
        with _silence(), self._guarded(listening):
            super().__init__("127.0.0.1", listening.getsockname()[1], verbose=False)
        if not self._served:
            self.stop()
            raise RuntimeError("this version of viser cannot be guarded; install viser 1.1 or 0.2.7")

    def stop(self) -> None:
        """End the server and its threads, and wait for them."""
        with _silence():
            for served, loop, thread in self._served:
                if hasattr(served, "ws_server") and thread.is_alive():  # viser 0.2.7 leaves it to run for ever
                    asyncio.run_coroutine_threadsafe(_end(served.ws_server), loop)
                    thread.join()
            super().stop()
            for *_, thread in self._served:
                thread.join()

    def request_share_url(self, verbose: bool = True) -> None:
        """Nothing: it would let the world in, through somebody else's server."""

    def disconnect_share_url(self) -> None:
        """Nothing: there is none."""

    @contextlib.contextmanager
    def _guarded(self, listening: socket.socket) -> Iterator[None]:
        """Within the block, websocket servers of this process serve on our socket and ask the guard."""
        with contextlib.ExitStack() as undo:
            for module, ask in ((websockets.server, self._ask_legacy), (websockets.asyncio.server, self._ask)):
                undo.callback(setattr, module, "serve", module.serve)
                module.serve = self._guard_serve(module, listening, ask)
            yield

    def _guard_serve(self, module: ModuleType, listening: socket.socket, ask: Callable) -> Callable:
        serve = module.serve

        def guarded(handler: Callable, host: str, port: int, **options: Any) -> Any:
            served = serve(handler, **{**options, "process_request": ask, "sock": listening, "logger": quiet})
            self._served.append((served, asyncio.get_event_loop(), threading.current_thread()))
            return served

        return guarded

    async def _ask_legacy(self, target: str, headers: Headers) -> Answer | None:
        return self.guard.answer(target, headers)

    async def _ask(self, connection: ServerConnection, request: Request) -> Response | None:
        answer = self.guard.answer(request.path, request.headers)
        return answer and Response(answer[0].value, answer[0].phrase, Headers(answer[1]), answer[2])


async def _end(server: Any) -> None:
    """Close a legacy server and everything else on its loop."""
    server.close()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(server.wait_closed(), PATIENCE)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    asyncio.get_running_loop().stop()


def _silence() -> contextlib.AbstractContextManager:
    """viser announces itself, and its end, on our standard output."""
    return contextlib.redirect_stdout(io.StringIO())
