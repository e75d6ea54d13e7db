from __future__ import annotations

import pytest
import torch

from arf.jobs.optimizers import optimizer_tensors, restore_optimizer, tensors_like


def problem() -> tuple[list[torch.nn.Parameter], torch.optim.Adam]:
    parameters = [torch.nn.Parameter(torch.tensor([1.0, -2.0])), torch.nn.Parameter(torch.tensor([[3.0]]))]
    return parameters, torch.optim.Adam(parameters, 0.1)


def step(parameters, optimizer) -> None:
    optimizer.zero_grad()
    sum((p**4).sum() for p in parameters).backward()
    optimizer.step()


def test_an_optimiser_goes_on_as_if_it_had_not_stopped():
    parameters, optimizer = problem()
    for _ in range(3):
        step(parameters, optimizer)
    others, fresh = problem()
    for other, parameter in zip(others, parameters, strict=True):
        other.data.copy_(parameter)
    tensors = {name: value.clone() for name, value in optimizer_tensors(optimizer, "adam").items()}
    assert {name.split(".")[1] for name in tensors} == {"0", "1"}
    restore_optimizer(fresh, tensors, "adam")
    step(parameters, optimizer)
    step(others, fresh)
    assert all(torch.equal(p, q) for p, q in zip(parameters, others, strict=True))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_what_there_will_be_after_a_step_is_known_before(kind):
    parameters, _ = problem()
    optimizer = kind(parameters, 0.1)
    expected = tensors_like(optimizer, "a")
    assert not optimizer.state
    assert parameters[0].grad is None
    step(parameters, optimizer)
    found = optimizer_tensors(optimizer, "a")
    assert {name: t.shape for name, t in expected.items()} == {name: t.shape for name, t in found.items()}
    assert {name: t.dtype for name, t in expected.items()} == {name: t.dtype for name, t in found.items()}


@pytest.mark.cuda
@pytest.mark.parametrize("fused", [False, True])
def test_the_step_lies_where_adam_looks_for_it(fused):
    parameter = torch.nn.Parameter(torch.ones(2, device="cuda"))
    optimizer, fresh = (torch.optim.Adam([parameter], fused=fused) for _ in range(2))
    step([parameter], optimizer)
    restore_optimizer(fresh, optimizer_tensors(optimizer, "adam"), "adam")
    assert fresh.state[parameter]["step"].device == optimizer.state[parameter]["step"].device


def test_one_that_has_not_begun_has_nothing_to_remember():
    _, optimizer = problem()
    assert optimizer_tensors(optimizer, "adam") == {}
    restore_optimizer(optimizer, {}, "adam")
    assert not optimizer.state
