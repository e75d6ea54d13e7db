from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from commands import refused, run
from trained import adain_file, cast_file, fast_file

from arf.jobs.runs import Run
from arf.jobs.tensors import load_tensors, save_tensors
from arf.media import footage, image, video
from arf.networks import paint
from arf.networks.adain import AdainNetwork
from arf.networks.settings import AdainSettings, CastSettings, FastSettings
from arf.style import natural
from arf.training.loop import Loop

TINY = "--steps", 2, "--batch", 1, "--crop", 32, "--width", 4, "--workers", 1, "--device", "cpu"


@pytest.fixture
def photos(tmp_path):
    for i, picture in enumerate(natural.pictures(3, 48, seed=5).permute(0, 2, 3, 1)):
        image.write(tmp_path / "photos" / f"p{i}.png", picture[:40])
    return tmp_path / "photos"


def test_fast_paints_a_picture(tmp_path, photos, capsys):
    model, output = fast_file(tmp_path), tmp_path / "out.png"
    code, out, err = run(
        capsys, "fast", photos / "p0.png", "--model", model, "--style", "wave", "--style", "0", "--style-weight", 3,
        "--style-weight", 1, "--output", output,
    )  # fmt: skip
    assert (code, out, err) == (0, f"{output}\n", "")
    expected = paint.fast(image.read(photos / "p0.png"), ["wave", "night"], [3, 1], FastSettings(model=str(model)))
    assert torch.equal(image.to_bytes(image.read(output)), image.to_bytes(expected))


def test_adain_paints_a_folder(tmp_path, photos, capsys):
    model = adain_file(tmp_path)
    flags = "--style", photos / "p1.png", "--alpha", 0.5, "--size", 32, "--model", model, "--json"
    code, out, _ = run(capsys, "adain", photos, *flags, "--output", tmp_path / "painted")
    written = [tmp_path / "painted" / f"p{i}-p1-adain.png" for i in range(3)]
    assert (code, json.loads(out)) == (0, {"pictures": [str(p) for p in written]})
    content = image.fit_long_side(image.read(photos / "p2.png"), 32)
    settings = AdainSettings(model=str(model), alpha=0.5)
    expected = paint.adain(content, [image.read(photos / "p1.png")], settings=settings)
    assert torch.equal(image.to_bytes(image.read(written[2])), image.to_bytes(expected))


def test_a_folder_that_was_not_finished_is_gone_on_with(tmp_path, photos, capsys):
    flags = (
        "--style",
        photos / "p1.png",
        "--size",
        32,
        "--model",
        adain_file(tmp_path),
        "--output",
        tmp_path / "painted",
    )
    assert run(capsys, "adain", photos, *flags)[0] == 0
    whole, kept, gone = (tmp_path / "painted" / f"p{i}-p1-adain.png" for i in range(3))
    expected = gone.read_bytes()
    gone.unlink()
    whole.write_bytes(b"left alone")
    assert "exists already" in refused(capsys, "adain", photos, *flags)
    assert run(capsys, "adain", photos, *flags, "--resume")[0] == 0
    assert (whole.read_bytes(), gone.read_bytes(), kept.is_file()) == (b"left alone", expected, True)


def test_cast_paints_in_both_directions(tmp_path, photos, capsys):
    model, content = cast_file(tmp_path), image.read(photos / "p0.png")
    style, painted = image.read(photos / "p1.png"), {}
    for domain in ("painting", "photograph"):
        output = tmp_path / f"{domain}.png"
        flags = "--style", photos / "p1.png", "--model", model, "--to", domain, "--output", output
        assert run(capsys, "cast", photos / "p0.png", *flags) == (0, f"{output}\n", "")
        painted[domain] = image.to_bytes(image.read(output))
    expected = paint.cast(content, [style], settings=CastSettings(model=str(model), to="photograph"))
    assert torch.equal(painted["photograph"], image.to_bytes(expected))
    same = paint.adain(content, [style], settings=AdainSettings(model=str(adain_file(tmp_path))))
    assert torch.equal(painted["painting"], image.to_bytes(same))  # the decoder that this one began with


def test_adain_takes_masks(tmp_path, photos, capsys, caplog):
    mask = torch.zeros(40, 48, 3)
    mask[:, 24:] = 1
    image.write(tmp_path / "mask.png", mask)
    flags = "--style", photos / "p1.png", "--mask", tmp_path / "mask.png", "--model", adain_file(tmp_path)
    output = tmp_path / "masked.png"
    assert run(capsys, "adain", photos / "p0.png", *flags, "--size", 32, "--output", output)[0] == 0
    assert image.read(output).shape == (27, 32, 3)
    assert not caplog.records  # the mask has the size of the picture's file


def test_one_broken_picture_does_not_keep_the_others(tmp_path, photos, capsys, caplog):
    (photos / "p1.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        said = refused(capsys, "fast", photos, "--model", fast_file(tmp_path), "--style", 0, "--output", tmp_path / "o")
    assert "1 of 3 pictures could not be painted" in said
    assert "p1.png is not a picture" in caplog.text
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["p0-night-fast.png", "p2-night-fast.png"]


def test_bad_input_is_refused_in_one_line(tmp_path, photos, capsys):
    empty, one = tmp_path / "empty", photos / "p0.png"
    empty.mkdir()
    model, published = fast_file(tmp_path), tmp_path / "decoder.pth"
    published.write_bytes(b"x")
    for words, message in (
        (("fast", tmp_path / "no.png", "--model", model, "--style", 0), "no picture at"),
        (("fast", empty, "--model", model, "--style", 0), "holds no picture"),
        (("fast", one, "--model", model, "--style", 7), "has no style '7'"),
        (("fast", one, "--model", adain_file(tmp_path)), "is a model of arf train adain"),
        (("fast", one, "--model", "nothing"), "no model 'nothing'"),
        (("fast", photos, "--model", model, "--style", 0, "--output", tmp_path / "x.png"), "name a folder"),
        (("fast", one, "--model", model, "--style", 0, "--output", tmp_path / "x.webp"), "x.webp"),
        (("adain", one, "--style", one, "--mask", one, "--mask", one), "2 masks for 1 styles"),
        (("cast", one, "--style", one, "--model", published), "of CAST there are only those, as .safetensors"),
        (("fast", one, one, "--model", model, "--style", 0), "two of the pictures would both be written"),
        (("adain", one), "no style picture"),
        (("adain", one, "--style", one, "--model", model), "is a model of arf train many"),
        (("cast", one, "--style", one, "--model", model), "is a model of arf train many; one of arf train cast"),
        (("adain", one, "--style", one, "--model", cast_file(tmp_path)), "is a model of arf train cast"),
        (("train",), "say what to train"),
        (("train", "fast", "--style", one), "no photographs"),
        (("train", "fast", "--style", one, "--content", empty), "holds no picture"),
        (("train", "--resume", empty), "is no run and holds none"),
    ):
        assert message in refused(capsys, *words)
    assert not (tmp_path / "outputs").exists()


def test_neither_what_is_read_nor_a_result_is_written_over(tmp_path, photos, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, model = photos / "p0.png", fast_file(tmp_path)
    (tmp_path / "link.png").symlink_to(one)
    before = {path: path.read_bytes() for path in photos.iterdir()}
    adain = "adain", one, "--style", photos / "p1.png", "--model", adain_file(tmp_path)
    for name in (one, photos / "p1.png", tmp_path / "link.png"):
        assert "read by this command" in refused(capsys, *adain, "--overwrite", "--output", name)
    fast = "fast", photos, "--model", model, "--style", "wave"
    assert run(capsys, *fast)[0] == 0
    outputs = {path: path.stat().st_mtime_ns for path in (tmp_path / "outputs").iterdir()}
    assert {path.name for path in outputs} == {f"p{i}-wave-fast.png" for i in range(3)}
    assert "p0-wave-fast.png exists already, and so do 2 others; give --overwrite" in refused(capsys, *fast)
    assert run(capsys, *fast[:-1], "night")[0] == 0  # another style, other names
    assert {path: path.stat().st_mtime_ns for path in outputs} == outputs
    assert run(capsys, *fast, "--overwrite")[0] == 0
    assert all(path.stat().st_mtime_ns > outputs[path] for path in outputs)
    onnx = "onnx", "many", "--model", model, "--output", tmp_path / "m.onnx"
    (tmp_path / "m.onnx").write_text("mine")
    assert "m.onnx exists already" in refused(capsys, *onnx)
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


@pytest.mark.parametrize(("method", "made"), [("adain", adain_file), ("cast", cast_file)])
def test_a_video_is_painted_and_gone_on_with(tmp_path, photos, capsys, monkeypatch, method, made):
    pictures = natural.pictures(6, 48, seed=5).permute(0, 2, 3, 1)
    with video.Writer(tmp_path / "in.mp4", fps=12) as writer:
        for picture in pictures:
            writer.write(picture)
    flags = "--method", method, "--style", photos / "p1.png", "--model", made(tmp_path), "--save-every", 2
    words = "video", tmp_path / "in.mp4", *flags, "--batch", 2, "--output", tmp_path / "out.mp4"
    calls, paint_frames = [], AdainNetwork.forward

    def stop(network, frames, *more):
        calls.append(len(frames))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return paint_frames(network, frames, *more)

    monkeypatch.setattr(AdainNetwork, "forward", stop)
    code, _, err = run(capsys, *words)
    assert (code, err) == (130, "arf: stopped; go on with the same command and --resume\n")
    assert not (tmp_path / "out.mp4").exists()
    model, (tensors, notes) = made(tmp_path), load_tensors(made(tmp_path), "")
    kept = model.read_bytes()
    save_tensors(model, {name: t / 2 for name, t in tensors.items()}, **notes)
    assert "was made with another model" in refused(capsys, *words, "--resume")
    assert "out.mp4 was begun and stopped; go on with --resume" in refused(capsys, *words, "--overwrite")
    model.write_bytes(kept)
    code, out, _ = run(capsys, *words, "--resume", "--json")
    said = json.loads(out)
    assert (code, said["frames"], said["fps"], said["sound"]) == (0, 6, 12.0, "none")
    assert calls == [2, 2, 2, 2]  # the first part was not painted again
    assert footage.probe(tmp_path / "out.mp4").frames == 6
    assert "out.mp4 exists already; give --overwrite" in refused(capsys, *words)
    assert "in.mp4 is read by this command" in refused(capsys, *words[:-1], tmp_path / "in.mp4", "--overwrite")
    assert "is a video; arf video paints videos" in refused(capsys, method, tmp_path / "in.mp4", *flags[2:-2])
    fast = "--method", "many", "--model", fast_file(tmp_path), "--style"
    assert "has no style '3'" in refused(capsys, "video", tmp_path / "in.mp4", *fast, 3)
    assert "is a picture, not a video" in refused(capsys, "video", photos / "p0.png", *fast, 0)
    assert "needs a --model" in refused(capsys, "video", tmp_path / "in.mp4", "--method", "fast")
    unused = refused(capsys, "video", tmp_path / "in.mp4", *fast, 0, "--alpha", 0.5)
    assert "--alpha has no use with --method many" in unused
    unused = refused(capsys, "video", tmp_path / "in.mp4", *fast, 0, "--smooth-strength", 0.5)
    assert "--smooth-strength has no use without --smooth" in unused


def test_a_stopped_training_is_gone_on_with(tmp_path, photos, capsys, monkeypatch):
    words = "train", "cast", "--content", photos, "--style", photos, *TINY, "--output", tmp_path / "runs"
    update = Loop._update

    def stop(loop, *more):
        update(loop, *more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_update", stop)
        code, _, err = run(capsys, *words)
    path = Run.open(tmp_path / "runs", finished=False).path
    assert (code, err) == (130, f"arf: stopped; what was done is saved, go on with --resume {path}\n")
    code, out, _ = run(capsys, "train", "--resume", tmp_path / "runs", "--json")
    assert code == 0
    assert Run.open(json.loads(out)["run"], "training").info["steps"] == 2
    whole = run(capsys, *words, "--json")[1]
    first, second = (load_tensors(Path(json.loads(said)["model"]), "")[0] for said in (out, whole))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_finished_training_is_not_resumed(tmp_path, photos, capsys):
    words = "train", "fast", "--content", photos, "--style", photos / "p0.png", *TINY, "--style-size", 48
    code, out, _ = run(capsys, *words, "--output", tmp_path / "runs")
    assert code == 0
    model = out.splitlines()[0]
    assert run(capsys, "fast", photos / "p1.png", "--model", model, "--output", tmp_path / "x.png")[0] == 0
    assert "has finished; begin a new run" in refused(capsys, "train", "--resume", tmp_path / "runs")


def test_a_preset_serves_methods_that_have_no_use_for_all_of_it(tmp_path, photos, capsys):
    laptop = Path(__file__).parents[2] / "configs" / "laptop.yaml"  # says width: 16
    words = "--content", photos, "--config", laptop, "--steps", 1, "--batch", 1, "--crop", 32, "--load", 32
    words += "--workers", 0, "--device", "cpu", "--precision", "full", "--json", "--output", tmp_path / "runs"
    code, out, _ = run(capsys, "train", "adain", "--style", photos, *words)
    assert code == 0
    assert Run.open(json.loads(out)["run"]).info["settings"]["load"] == 32
    assert "--width has no use with adain" in refused(capsys, "train", "adain", "--style", photos, *words, "--width", 4)
    begun = "--init", fast_file(tmp_path), "--style-size", 48  # four channels wide
    named = tmp_path / "photos" / "new.png"
    (photos / "p0.png").rename(named)
    assert run(capsys, "train", "many", "--style", named, *begun, *words)[0] == 0
    said = refused(capsys, "train", "many", "--style", named, *begun, *words, "--width", 8)
    assert "that of --init is 4; leave out --width" in said
