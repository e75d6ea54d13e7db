"""Networks from the tensors of a file: what it describes is built without memory, and compared, before it gets any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from arf.jobs.tensors import check_tensors

Network = TypeVar("Network", bound=nn.Module)


def filled(build: Callable[[], Network], tensors: Mapping[str, Tensor], where: object, remedy: str) -> Network:
    """A network with these tensors in single precision, for inference.

    Args:
        build: makes the network; it is called where tensors take no memory, so that a file which describes a larger
            network than it holds is only refused.
        where, remedy: see `check_tensors`.

    Raises:
        UserError: tensors of other names, shapes or kinds than the network has, or not finite.
    """
    with torch.device("meta"):
        network = build()
    check_tensors(tensors, network.state_dict(), where, remedy)
    single = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    network.load_state_dict(single, assign=True)
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
