"""Tensors in files: what comes back, what is refused, what is left when a write fails."""

from __future__ import annotations

import errno
import json
import pickle
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from arf.errors import UserError
from arf.jobs.tensors import (
    check_tensors,
    load_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_tensors,
    tensors_like,
)


def test_tensors_come_back_as_they_were(tmp_path):
    tensors = {
        "half": torch.rand(3, 2).half(), "brain": torch.rand(3).bfloat16(), "double": torch.rand(2).double(),
        "index": torch.arange(5), "flag": torch.tensor([True, False]), "scalar": torch.tensor(3.0),
        "none": torch.zeros(0, 3), "nothing": torch.zeros(0), "parameter": torch.nn.Parameter(torch.rand(2, 2)),
        "transposed": torch.rand(4, 6).t(), "strided": torch.rand(10)[::2], "expanded": torch.rand(1, 3).expand(4, 3),
        "channels_last": torch.rand(1, 3, 4, 5).to(memory_format=torch.channels_last),
        "special": torch.tensor([torch.inf, torch.nan]),
    }  # fmt: skip
    save_tensors(tmp_path / "a.safetensors", tensors)
    found, notes = load_tensors(tmp_path / "a.safetensors", "")
    assert notes == {}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name].nan_to_num(), tensor.detach().nan_to_num())
        assert not found[name].requires_grad
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644


def test_notes_travel_with_them(tmp_path):
    notes = {"step": 12, "rows": [{"loss": 0.1 + 0.2}], "asked": {"θ": None, "deep": {"a": True}}}
    save_tensors(tmp_path / "a", {"t": torch.ones(1)}, **notes, folder=Path("x/y"), layers=("a", "b"))
    assert load_tensors(tmp_path / "a", "")[1] == {**notes, "folder": "x/y", "layers": ["a", "b"]}


def test_tensors_that_share_memory_are_each_kept(tmp_path):
    shared = torch.arange(6.0)
    tensors = {
        "whole": shared, "again": shared, "seen": shared.view(2, 3), "part": shared[:3],
        "empty": torch.zeros(0), "empty2": torch.zeros(0),
    }  # fmt: skip
    save_tensors(tmp_path / "a", tensors)
    found, _ = load_tensors(tmp_path / "a", "")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_a_part_of_a_large_tensor_takes_its_own_room_only(tmp_path):
    save_tensors(tmp_path / "a", {"part": torch.rand(1000, 1000)[3]})
    assert (tmp_path / "a").stat().st_size < 8000


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_files_cut_short_are_refused_with_the_remedy(tmp_path, share):
    save_tensors(tmp_path / "a", {"t": torch.rand(1000)}, step=1)
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"a is (empty|cut short or corrupt).*; make it again$") as refusal:
        load_tensors(tmp_path / "a", "make it again")
    assert "\n" not in str(refusal.value)


def test_what_is_no_safetensors_file_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "pickle").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "text").write_text("no tensors, but longer than a header's length")
    for name in ("pickle", "text", "none", "."):
        with pytest.raises(UserError, match=r"cut short or corrupt|no safetensors file|is a folder"):
            load_tensors(tmp_path / name, "make it again")
    assert not (tmp_path / "sprung").exists()


def test_notes_that_are_not_json_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"t": torch.ones(1)}, tmp_path / "a", metadata={"notes": "{"})
    with pytest.raises(UserError, match="cut short or corrupt"):
        load_tensors(tmp_path / "a", "make it again")
    save_file({"t": torch.ones(1)}, tmp_path / "b")  # another program's
    assert load_tensors(tmp_path / "b", "")[1] == {}


def test_a_write_that_fails_keeps_the_earlier_file(tmp_path, monkeypatch):
    save_tensors(tmp_path / "a", {"t": torch.ones(2)}, step=1)

    def breaks(_: object, path: Path, **__: object) -> None:
        Path(path).write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("arf.jobs.tensors.save_file", breaks)
    with pytest.raises(UserError, match="a: No space left on device; free some space"):
        save_tensors(tmp_path / "a", {"t": torch.zeros(2)}, step=2)
    found, notes = load_tensors(tmp_path / "a", "")
    assert torch.equal(found["t"], torch.ones(2))
    assert notes == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path, tmp_path / "file" / "a"):
        with pytest.raises(UserError, match=f"cannot write {path}"):
            save_tensors(path, {"t": torch.ones(1)})


def test_a_file_larger_than_memory_is_refused_before_it_is_read(tmp_path):
    size = 2**50  # sparse: it takes no room on the disk
    header = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with open(tmp_path / "a", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        try:
            file.truncate(8 + len(header) + size)
        except OSError:
            pytest.skip("this disk has no files of that size")
    with pytest.raises(UserError, match=r"a (holds [\d.]+ GB and|is cut short or corrupt).*; make it again"):
        load_tensors(tmp_path / "a", "make it again")


@pytest.mark.parametrize("shape", [[2**63, 0], [2**62, 0, 8], [2**40, 0]])
def test_shapes_that_no_tensor_has(tmp_path, shape):
    """Nothing of it is there, so that safetensors does not mind."""
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    (tmp_path / "a").write_bytes(struct.pack("<Q", len(header)) + header)
    with suppress(UserError):
        load_tensors(tmp_path / "a", "make it again")


@pytest.mark.parametrize("notes", ["[]", "5", "{", "[" * 100_000, '{"a": ' + "[" * 50 + "]" * 50 + "}"])
def test_notes_that_are_no_shallow_object_are_refused(tmp_path, notes):
    save_file({"a": torch.ones(1)}, tmp_path / "a", metadata={"notes": notes})
    with pytest.raises(UserError, match="cut short or corrupt"):
        load_tensors(tmp_path / "a", "make it again")


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a": torch.ones(2, 3)}, "lacks tensor 'b'"),
        ({"a": torch.ones(2, 3), "b": torch.ones(1, dtype=torch.long), "c": torch.ones(1)}, "has an unknown tensor"),
        ({"a": torch.ones(3), "b": torch.ones(1, dtype=torch.long)}, r"a has shape \[3\], not \[2, 3\]"),
        ({"a": torch.ones(2, 3, dtype=torch.int), "b": torch.ones(1, dtype=torch.long)}, "a holds int32, not float32"),
        ({"a": torch.ones(2, 3), "b": torch.ones(1)}, "b holds float32, not int64"),
        ({"a": torch.full((2, 3), torch.nan), "b": torch.ones(1, dtype=torch.long)}, "a holds numbers that are not"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensors, said):
    like = {"a": torch.zeros(2, 3), "b": torch.zeros(1, dtype=torch.long)}
    with pytest.raises(UserError, match=f"here:? {said}.*; mend it"):
        check_tensors(tensors, like, "here", "mend it")


def test_tensors_that_fit_pass():
    like = {"a": torch.zeros(2, 3), "none": torch.zeros(0, 3)}
    check_tensors({"a": torch.ones(2, 3).half(), "none": torch.zeros(0, 3)}, like, "here", "mend it")


# Optimisers


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
