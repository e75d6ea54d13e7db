"""Long work in native code, watched from here: progress, and an end when one is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from arf.radiance.capture.library import pycolmap

T = TypeVar("T")
EVERY = 0.2  # seconds between two looks at it


def watched(
    work: Callable[[Any], T], count: Callable[[], int], told: Callable[[int], None], stopped: Callable[[], bool]
) -> T:
    """What `work` makes, in a thread of its own.

    Args:
        work: takes pycolmap's token by which it can be called off.
        count: how much of it is done, for `told`.

    Raises:
        KeyboardInterrupt: `stopped` says so, and it has come to an end. What `work` raises is passed on.
    """
    token, made = pycolmap().CancellationToken(), {}

    def run() -> None:
        try:
            made["result"] = work(token)
        except BaseException as error:
            made["error"] = error

    thread = threading.Thread(target=run, daemon=True)  # a second Ctrl-C does not wait for it
    thread.start()
    while thread.is_alive():
        thread.join(EVERY)
        told(count())
        if stopped():
            token.cancel()
    if stopped():
        raise KeyboardInterrupt
    if "error" in made:
        raise made["error"]
    return made["result"]
