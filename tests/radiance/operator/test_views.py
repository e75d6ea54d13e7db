"""All views' operators together, and the re-fit of vertex colours to pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from voxels import around, ball_model

from arf.radiance.capture.capture import Views
from arf.radiance.fields.trace import trace
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.matrix import build
from arf.radiance.operator.operators import OperatorSet, refit, vertices_of

CPU = torch.device("cpu")
VIEWS = Views(around(4), [Path()] * 4)
BACKGROUND = torch.tensor([0.3, 0.1, 0.7])


@pytest.fixture(scope="module")
def model():
    return ball_model()


def operators_of(model, folder: Path, budget: int = 1 << 30, seen=lambda *_: None) -> OperatorSet:
    return OperatorSet(model, VIEWS, ViewCache(budget, folder, CPU), 0.002, seen)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_view_renders_as_its_own_operator_over_all_vertices(model, tmp_path):
    calls = []
    operators = operators_of(model, tmp_path, seen=lambda *call: calls.append(call))
    shape = model.field.grid.shape
    assert operators.shape == shape
    assert calls == [(i, 4) for i in (1, 2, 3, 4)]
    whole = [build(trace(model, *VIEWS.rays(i), 0.002), *VIEWS.size(i), shape) for i in range(4)]
    assert torch.equal(operators.keys, torch.cat([o.columns for o in whole]).unique().long())
    everywhere = random((shape[0] + 1) * (shape[1] + 1) * (shape[2] + 1), 3)
    for i, single in enumerate(whole):
        found = operators[i].apply(everywhere[operators.keys], BACKGROUND)
        torch.testing.assert_close(found, single.apply(everywhere, BACKGROUND), rtol=0, atol=1e-6)
    assert operators.entries == sum(len(o.values) for o in whole)
    assert operators.nbytes == sum(operators[i].nbytes for i in range(4))
    assert operators.pixels == 4 * 14 * 20
    assert len(operators) == 4


def test_vertices_of_cells_are_their_corners():
    shape = (3, 2, 5)
    cells = torch.tensor([29, 0, 11, 0])
    wanted = set()
    for cell in cells.tolist():
        x, y, z = cell // 10, cell // 5 % 2, cell % 5
        wanted |= {((x + i) * 3 + y + j) * 6 + z + k for i in (0, 1) for j in (0, 1) for k in (0, 1)}
    assert vertices_of(cells, shape).tolist() == sorted(wanted)


def test_operators_from_disk_are_the_ones_in_memory(model, tmp_path):
    inside, outside = operators_of(model, tmp_path / "a"), operators_of(model, tmp_path / "b", budget=0)
    assert (inside.cache.on_disk, outside.cache.in_memory) == (0, 0)
    assert outside.cache.on_disk == inside.cache.in_memory == inside.nbytes
    theta = random(len(inside.keys), 3)
    for i in range(4):
        for name, tensor in inside[i].tensors().items():
            assert torch.equal(outside[i].tensors()[name], tensor)
        assert torch.equal(outside[i].transpose(outside[i].apply(theta, BACKGROUND)),
                           inside[i].transpose(inside[i].apply(theta, BACKGROUND)))  # fmt: skip


def test_refit_recovers_colours_from_their_own_renderings(model, tmp_path):
    operators = operators_of(model, tmp_path)
    truth, start = random(len(operators.keys), 3), torch.full((len(operators.keys), 3), 0.5)
    pictures = [operators[i].apply(truth, BACKGROUND) for i in range(4)]
    steps = []
    found = refit(operators, start, BACKGROUND, pictures.__getitem__, 200, 1e-6, lambda *s: steps.append(s))
    for i in range(4):
        error = operators[i].apply(found, BACKGROUND) - pictures[i]
        before = operators[i].apply(start, BACKGROUND) - pictures[i]
        assert error.abs().max() < 2e-3 < 0.05 < before.abs().max()
    assert steps == [(i + 1, 200) for i in range(200)]


@pytest.mark.parametrize("damping", [0.05, 3.0])
def test_refit_solves_the_damped_normal_equations(model, tmp_path, damping):
    operators = operators_of(model, tmp_path)
    count = len(operators.keys)
    start, targets = random(count, 3), [random(14, 20, 3, seed=i) for i in range(4)]
    rows = []
    for i in range(4):
        parts = (operators[i].starts, operators[i].columns, operators[i].values)
        rows.append(torch.sparse_csr_tensor(*parts, (14 * 20, count), check_invariants=True).to_dense())
    matrix = torch.cat(rows).double()  # [views * pixels, V]
    missing = torch.cat([(targets[i] - operators[i].apply(start, BACKGROUND)).view(-1, 3) for i in range(4)]).double()
    normal = matrix.T @ matrix + damping * torch.eye(count, dtype=torch.float64)
    wanted = start.double() + torch.linalg.solve(normal, matrix.T @ missing)
    found = refit(operators, start, BACKGROUND, targets.__getitem__, 200, damping)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-4)


def test_heavy_damping_stays_near_the_start_and_perfect_targets_change_nothing(model, tmp_path):
    operators = operators_of(model, tmp_path)
    start = random(len(operators.keys), 3)
    targets = [random(14, 20, 3, seed=i) for i in range(4)]
    moved = [refit(operators, start, BACKGROUND, targets.__getitem__, 8, d) - start for d in (0.05, 1e4)]
    assert moved[1].abs().max() < 0.01 < 0.1 < moved[0].abs().max()
    own = [operators[i].apply(start, BACKGROUND) for i in range(4)]
    assert torch.equal(refit(operators, start, BACKGROUND, own.__getitem__), start)
