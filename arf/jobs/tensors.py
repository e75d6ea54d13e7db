"""Tensors in files: safetensors, written whole or not at all. Reading one executes nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import atomic_path, plain


def save_tensors(path: Path, tensors: Mapping[str, Tensor], **notes: Any) -> None:
    """Write a safetensors file; `notes` (JSON) travel in it.

    Raises:
        UserError: it cannot be written.
    """
    contiguous: dict[str, Tensor] = {}
    places = set()
    for key, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        contiguous[key] = value.clone() if value.data_ptr() in places else value  # nerfacto names some twice
        places.add(value.data_ptr())
    with atomic_path(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata={"notes": json.dumps(plain(notes))})
        except SafetensorError as error:  # an I/O error wears this coat, its number in the text
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(*([int(number[1]), os.strerror(int(number[1]))] if number else [str(error)])) from error
        temporary.chmod(0o644)  # safetensors leaves it to the owner alone


def load_tensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and notes of a file of `save_tensors`; `remedy` says what to do when it is broken.

    Raises:
        UserError: it cannot be read, is cut short or corrupt.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {}).get("notes", "{}"))
            return {key: file.get_tensor(key) for key in file.keys()}, notes  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is cut short or corrupt ({error}); {remedy}") from error
