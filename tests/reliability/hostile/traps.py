"""What a stranger may put into files: code in pickles, YAML and names. Each would make `done`, and holds `MARK`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tripwire import MARK


class _Calls:
    """Pickles to a call."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def _system(done: Path) -> bytes:
    import os

    return pickle.dumps(_Calls(os.system, f"touch {done} # {MARK}"))


def _exec(done: Path) -> bytes:
    return pickle.dumps(_Calls(exec, f"open({str(done)!r}, 'w') # {MARK}"))


def _open(done: Path) -> bytes:
    return pickle.dumps(_Calls(open, str(done), "w"))


PAYLOADS: dict[str, Callable[[Path], bytes]] = {"os.system": _system, "exec": _exec, "open": _open}


class _Code:
    def __init__(self, done: Path) -> None:
        self.done = done

    def __reduce__(self) -> tuple:
        return exec, (f"open({str(self.done)!r}, 'w') # {MARK}",)


def ckpt(path: Path, done: Path) -> Path:
    """A checkpoint of torch that executes: step, pipeline and all."""
    torch.save({"step": 1, "pipeline": {"_model.x": torch.zeros(1)}, "code": _Code(done)}, path)
    return path


def old_ckpt(path: Path, done: Path) -> Path:
    """The same in torch's format before 1.6."""
    torch.save({"code": _Code(done)}, path, _use_new_zipfile_serialization=False)
    return path


def npy_pickle(path: Path, done: Path) -> Path:
    np.save(path, np.array([_Code(done)], dtype=object), allow_pickle=True)
    return path


def npz_pickle(path: Path, done: Path) -> Path:
    np.savez(path, images=np.array([_Code(done)], dtype=object))
    return path


def yaml_lines(done: Path) -> dict[str, str]:
    """YAML that executes where it is read without care."""
    return {
        "apply": f"!!python/object/apply:os.system ['touch {done} # {MARK}']",
        "eval": f'!!python/object/apply:builtins.eval [\'open("{done}", "w") # {MARK}\']',
        "new": f"!!python/object/new:{MARK}.Trap {{}}",
        "module": f"!!python/module:{MARK} ''",
        "name": f"!!python/name:{MARK}.Trap ''",
    }
