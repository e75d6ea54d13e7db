"""Long work in native code, watched from here: progress, and an end when one is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from arf.jobs.interrupts import AtOnce
from arf.radiance.capture.library import pycolmap

T = TypeVar("T")
EVERY = 0.2  # seconds between two looks at it


def watched(work: Callable[[Any], T], count: Callable[[], int], told: Callable[[int], None]) -> T:
    """What `work` makes, in a thread of its own.

    Args:
        work: takes pycolmap's token by which it can be called off.
        count: how much of it is done, for `told`; what that raises calls the work off and is passed on when it has come
            to its end.

    Raises:
        Exception: whatever `work` raises.
    """
    token, made = pycolmap().CancellationToken(), {}

    def run() -> None:
        try:
            made["result"] = work(token)
        except BaseException as error:
            made["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(EVERY)
            told(count())
    except AtOnce:
        raise
    except BaseException:
        token.cancel()
        thread.join()
        raise
    if "error" in made:
        raise made["error"]
    return made["result"]
