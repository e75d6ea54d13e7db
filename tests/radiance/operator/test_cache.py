"""Tensors in memory up to a budget and on disk beyond it."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from arf.errors import UserError
from arf.radiance.operator.cache import ViewCache

CPU = torch.device("cpu")


def group(seed: int) -> dict[str, torch.Tensor]:
    """1,000 bytes: an odd mix of types and shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "values": torch.randn(5, 10, generator=generator),  # 200 bytes
        "columns": torch.randint(0, 9, (100,), generator=generator, dtype=torch.int32),  # 400
        "keys": torch.randint(0, 9, (50,), generator=generator),  # 400
    }


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_what_does_not_fit_goes_to_disk_and_comes_back_identical(tmp_path):
    cache = ViewCache(2500, tmp_path / "cache", CPU)
    for i in range(5):
        cache.put(f"view-{i}", group(i))
    assert (cache.in_memory, cache.on_disk) == (2000, 3000)
    for i in range(5):
        assert_same(cache.get(f"view-{i}"), group(i))
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["view-2", "view-3", "view-4"]


def test_in_memory_nothing_is_written(tmp_path):
    cache = ViewCache(10_000, tmp_path / "cache", CPU)
    cache.put("a", group(0))
    assert not (tmp_path / "cache").exists()
    cache.close()  # nothing to remove is no error


@pytest.mark.parametrize("budget", [0, 10_000])
def test_replacing_a_group_forgets_the_earlier_one(tmp_path, budget):
    cache = ViewCache(budget, tmp_path / "cache", CPU)
    cache.put("a", group(0))
    smaller = {"values": torch.ones(3)}
    cache.put("a", smaller)
    assert_same(cache.get("a"), smaller)  # and no file of the earlier group is left over
    assert cache.in_memory + cache.on_disk == 12


def test_a_group_moves_between_disk_and_memory_as_room_allows(tmp_path):
    cache = ViewCache(1000, tmp_path / "cache", CPU)
    cache.put("a", group(0))
    cache.put("b", group(1))
    assert (cache.in_memory, cache.on_disk) == (1000, 1000)
    cache.put("a", {"values": torch.ones(3)})
    cache.put("b", {"values": torch.zeros(2)})
    assert (cache.in_memory, cache.on_disk) == (20, 0)
    assert not (tmp_path / "cache" / "b").exists()
    assert_same(cache.get("b"), {"values": torch.zeros(2)})


def test_writing_to_what_came_back_does_not_change_the_file(tmp_path):
    cache = ViewCache(0, tmp_path / "cache", CPU)
    cache.put("a", group(0))
    cache.get("a")["values"].zero_()
    assert_same(cache.get("a"), group(0))


@pytest.mark.parametrize("budget", [0, 10_000])
def test_without_a_gpu_there_is_nothing_to_fetch_and_no_third_place(tmp_path, budget):
    cache = ViewCache(budget, tmp_path / "cache", CPU, host_budget=10_000)
    cache.put("a", group(0))
    cache.prefetch("a")
    assert_same(cache.get("a"), group(0))
    assert cache.on_host == 0
    assert cache.in_memory + cache.on_disk == 1000


def test_close_removes_the_files(tmp_path):
    cache = ViewCache(0, tmp_path / "run" / "cache", CPU)
    cache.put("a", group(0))
    cache.close()
    assert not (tmp_path / "run" / "cache").exists()


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(path: Path, _: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    cache = ViewCache(0, tmp_path / "cache", CPU)
    with pytest.raises(UserError, match=r"cache.*No space left on device; free some space") as caught:
        cache.put("a", group(0))
    assert "\n" not in str(caught.value)
    cache.close()
    assert not (tmp_path / "cache").exists()
