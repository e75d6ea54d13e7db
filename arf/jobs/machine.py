"""What the machine gives a job: memory, its limits, and what is said where something runs out."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from arf.errors import UserError

try:
    import resource
except ImportError:  # Windows
    resource = None

TO_BEGIN = 850_000_000  # bytes of data that torch and its libraries take
NO_MEMORY = re.compile(
    r"out of (?:shared )?memory|not enough memory|insufficient memory|cannot allocate memory|can't allocate memory"
    r"|bad_alloc|bad allocation|failed to map segment|_ALLOC_FAILED|paging file is too small"
    r"|DataLoader worker .* (?:killed by signal: Killed|exited unexpectedly)",
    re.IGNORECASE,
)
NO_HANDLES = re.compile(r"too many open files|os error 24\b", re.IGNORECASE)
ASKED = re.compile(r"(?:tried|unable|failed) to allocate ([\d.]+) ?(bytes|[KMGTPE]i?B)?", re.IGNORECASE)


class Starved(UserError):
    """Something that the machine gives has run out."""


class OutOfMemory(Starved):
    """Memory has. What takes less of it, the command knows."""


def keep_freed_memory() -> None:
    """Tell glibc to keep large blocks after use: given back to the system, a step fetches them anew, page by page.

    Does nothing with another C library.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def give_back_memory() -> None:
    """Give what glibc kept to the system after all: for the turn from one phase of a job to another, which asks for
    blocks of other sizes.

    Does nothing with another C library.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def free_ram() -> int:
    """Bytes of memory that this process may still take: what the machine, its container and its own limits leave."""
    return max(0, min([psutil.virtual_memory().available, *_left_by_groups(), *_left_by_limits()]))


def check_room_to_begin() -> None:
    """Raises Starved where this process' own limits leave too little to import torch, which would abort it."""
    left = min(_left_by_limits(), default=TO_BEGIN)
    if left < TO_BEGIN:
        said = f"{_gigabytes(left)} of memory may be taken, and arf takes {_gigabytes(TO_BEGIN)} to begin"
        raise Starved(f"{said}; allow more with ulimit -d and -v")


def _left_by_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What the control groups of this process leave, the caches of files not counted: of version 2, and of 1.

    A container sees its own group as the root, whatever its name is outside: groups that are not there are passed over.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:  # not Linux
        return
    for number, controllers, name in lines:
        if number == "0":
            top, limit, usage, cached = root, "memory.max", "memory.current", r"^(?:in)?active_file (\d+)"
        elif "memory" in controllers.split(","):
            top, limit, usage = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = r"^total_(?:in)?active_file (\d+)"
        else:
            continue
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                with suppress(OSError, ValueError):  # not there; "max"
                    left = int((folder / limit).read_text()) - int((folder / usage).read_text())
                    yield left + sum(map(int, re.findall(cached, (folder / "memory.stat").read_text(), re.MULTILINE)))


def _left_by_limits() -> Iterator[int]:
    """What `ulimit -v` and `ulimit -d` leave."""
    if resource is None:
        return
    used = psutil.Process().memory_info()
    for name, taken in (("RLIMIT_AS", used.vms), ("RLIMIT_DATA", getattr(used, "data", used.rss))):
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY:
            yield limit - taken


def starved(error: BaseException | None) -> Starved | None:
    """The one line for an exception that says, or comes of one that says, that memory or open files have run out; None
    for any other.

    Whatever is thought of a file that could not be read then, it is not the file's fault. Every library says it in its
    own way: Python and numpy by MemoryError, the system by a number, torch and OpenCV by a RuntimeError or their own, a
    module that is being imported by an ImportError.
    """
    while error is not None:
        if isinstance(error, Starved):
            return error
        if not isinstance(error, UserError) and (found := _said_by(error)):
            return found
        error = error.__cause__
    return None


def _said_by(error: BaseException) -> Starved | None:
    text, number = str(error), getattr(error, "errno", None)
    if number in (errno.EMFILE, errno.ENFILE) or NO_HANDLES.search(text):
        limit = f" ({resource.getrlimit(resource.RLIMIT_NOFILE)[0]} at a time)" if resource else ""
        return Starved(f"no more files can be opened{limit}; allow more with ulimit -n 4096")
    if not (isinstance(error, MemoryError) or number == errno.ENOMEM or NO_MEMORY.search(text)):
        return None
    asked = ASKED.search(text)
    wanted = f"{_gigabytes(float(asked[1].rstrip('.')), asked[2])} were asked for, " if asked else ""
    on_gpu = type(error).__name__ == "OutOfMemoryError" or "CUDA" in text
    return OutOfMemory(f"out of memory{' on the GPU' * on_gpu}: {wanted}{_gigabytes(_free(on_gpu))} are free")


def _free(on_gpu: bool) -> int:
    torch = sys.modules.get("torch")
    if on_gpu and torch is not None and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    return free_ram()


def _gigabytes(count: float, unit: str | None = None) -> str:
    scale = "bkmgtpe".index((unit or "bytes")[0].lower())
    return f"{count * 2 ** (10 * scale) / 2**30:.2f} GiB"


def yield_cores() -> None:
    """Let threads that wait for each other sleep. To be called before torch is imported; what the user has set stays.

    GNU's OpenMP spins instead, which costs the others most of a core. Steps of the encoder per second, on two cores
    alone, beside a busy process, and of each of two jobs: 106, 16, 4; passive, 91, 84, 87. Short spins lie between.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")):
        os.environ["OMP_WAIT_POLICY"] = "passive"


def allowed_threads() -> int:
    """How many threads may work: what OMP_NUM_THREADS says, by `limit_threads` or the user, or one for each core of
    this process."""
    said = re.match(r"\s*0*([1-9]\d*)", os.environ.get("OMP_NUM_THREADS", ""))
    if said:
        return int(said[1])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """Let torch, numba, OpenCV and the libraries below them work with so many threads; where they are imported already,
    those that can still be told."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[name] = str(count)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if numba := sys.modules.get("numba"):
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(count)
