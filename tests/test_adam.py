"""Adam without torch's compiler: the same bits as torch's."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from arf.adam import Adam

OPTIONS = [{}, {"fused": True}, {"fused": True, "betas": (0.9, 0.99), "eps": 1e-15}]


def walked(kind: type[torch.optim.Adam], options: dict) -> tuple[list[torch.Tensor], dict]:
    """Where a few steps of an optimiser lead, one group added and the state taken over on the way."""
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(5, 3, generator=generator).requires_grad_() for _ in range(2))

    def made() -> torch.optim.Adam:
        optimizer = kind([one], lr=0.1, **options)
        optimizer.add_param_group({"params": [two], "lr": 0.01})
        return optimizer

    optimizer = made()
    for step in range(6):
        optimizer.zero_grad()
        (one * two).sin().square().sum().backward()
        optimizer.step()
        if step == 2:
            state = optimizer.state_dict()
            optimizer = made()
            optimizer.load_state_dict(state)
    return [one.detach(), two.detach()], optimizer.state_dict()["state"]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_bits_as_torch(options):
    ours, theirs = walked(Adam, options), walked(torch.optim.Adam, options)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS)
def test_its_steps_are_not_recorded_and_it_scales(options):
    """As torch.amp.GradScaler asks of an optimiser."""
    value = torch.ones(3, requires_grad=True)
    optimizer, scaler = Adam([value], lr=0.1, **options), torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(value.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert value.is_leaf
    torch.testing.assert_close(value.detach(), torch.full((3,), 0.9))


def test_the_compiler_stays_out():
    lines = """
import sys, torch
from arf.adam import Adam
value = torch.ones(3, requires_grad=True)
optimizer = Adam([value], fused=True)
optimizer.zero_grad()
value.sum().backward()
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True).stdout == "[]\n"
