"""The commands that make pictures: results, stops and going on, and one line with exit code 2 for whatever is wrong."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import commands
import pytest
import torch
from samples import blobs, photo

from arf.media import image
from arf.transfer.engine import network
from arf.transfer.engine.job import Job

FAST = ("--encoder", "compact", "--device", "cpu", "--quiet")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder: a photograph, two styles and two masks."""
    image.write(tmp_path / "photo.png", photo(48, 64))
    image.write(tmp_path / "spots.png", blobs(48, 40))
    image.write(tmp_path / "other.jpg", photo(40, 40, 1))
    left = torch.zeros(48, 64, 3)
    left[:, :32] = 1
    image.write(tmp_path / "left.png", left)
    image.write(tmp_path / "right.png", 1 - left)
    image.write(tmp_path / "black.png", torch.zeros(48, 64, 3))
    image.write(tmp_path / "small.png", torch.rand(15, 40, 3))
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, line: str, *more: str) -> tuple[int, str, str]:
    command, *words = line.split()
    return commands.run(capsys, command, *FAST, *words, *more)


def made(capsys, line: str) -> dict:
    code, out, err = run(capsys, line, "--json")
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    return json.loads(out)


def everything(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(capsys, folder: Path, line: str) -> str:
    before = everything(folder)
    code, out, err = run(capsys, line)
    assert (code, out) == (2, "")
    assert err.startswith("arf: ")
    assert err.count("\n") == 1
    assert everything(folder) == before
    return err


@pytest.fixture
def ctrl_c(monkeypatch):
    """Press Ctrl-C after a step of the jobs that write a picture of this name."""

    def press(step: int, name: str = "") -> None:
        watch = Job.watch

        def watch_and_stop(job, moment):
            watch(job, moment)
            if moment.step == step and name in job.output.name:
                monkeypatch.setattr(Job, "watch", watch)
                raise KeyboardInterrupt

        monkeypatch.setattr(Job, "watch", watch_and_stop)

    return press


def steps(trace: Path) -> list[int]:
    with open(trace, newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("line", "picture", "terms", "size"),
    [
        ("texture spots.png --steps 3", "spots-texture.png", {"style"}, (48, 40)),
        ("texture spots.png --steps 2 --size 24", "spots-texture.png", {"style"}, (24, 20)),
        (
            "texture spots.png --steps 2 --width 72 --height 64 --tileable --layers relu2_1",
            "spots-texture.png",
            {"style"},
            (64, 72),
        ),
        (
            "invert photo.png --steps 3 --layer relu3_1",
            "photo-invert-relu3_1.png",
            {"features", "tv", "range"},
            (48, 64),
        ),
        ("invert photo.png --steps 3 --layer pool2 --size 32", "photo-invert-pool2.png", {"features"}, (24, 32)),
        ("gatys photo.png --style spots.png --steps 3", "photo-spots-gatys.png", {"style", "content", "tv"}, (48, 64)),
        ("gatys photo.png --style spots.png --steps 2 --size 80", "photo-spots-gatys.png", {"style"}, (60, 80)),
        ("dream photo.png --steps 3 --layer relu4_1", "photo-dream.png", {"relu4_1"}, (48, 64)),
        ("dream photo.png --steps 3 --layer relu3_1 relu2_1", "photo-dream.png", {"relu3_1", "relu2_1"}, (48, 64)),
    ],
)
def test_every_command_end_to_end(folder, capsys, line, picture, terms, size):
    before = set(everything(folder))
    result = made(capsys, line)
    assert result["picture"] == f"outputs/{picture}"
    assert terms <= result.keys()
    assert result["total"] == pytest.approx(sum(result[t] for t in result.keys() & {
        "style", "histogram", "features", "tv", "range", "content", "relu4_1", "relu3_1", "relu2_1"
    }))  # fmt: skip
    assert result["step"] == int(line.split("--steps ")[1].split()[0])
    assert set(everything(folder)) - before == {folder / "outputs", folder / "outputs" / picture}
    assert image.read(folder / "outputs" / picture).shape == (*size, 3)


def test_the_output_can_be_named_and_is_said(folder, capsys):
    code, out, err = run(capsys, "dream photo.png --steps 1 --output new/deep/a.jpg")
    assert (code, out, err) == (0, "new/deep/a.jpg\n", "")
    assert image.read(folder / "new" / "deep" / "a.jpg").shape == (48, 64, 3)


def test_mixed_styles_masks_and_kept_pictures(folder, capsys):
    result = made(
        capsys,
        "gatys photo.png --style spots.png --style other.jpg --style-weight 2 --style-weight 1 --mask left.png "
        "--mask right.png --steps 4 --layers relu1_1 relu2_1 --content-layers relu2_1 --save-every 2 --output a.png "
        "--trace t.csv",
    )
    assert {"style 1", "style 2"} <= result.keys()
    assert {p.name for p in folder.glob("a*")} == {"a.png", "a-64x48-0002.png", "a-64x48-0004.png"}
    with open(folder / "t.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["step"] for row in table] == ["1", "2", "3", "4"]
    assert float(table[-1]["style 2"]) == result["style 2"]


def test_a_mask_of_another_size_is_resized_with_a_warning(folder, capsys, caplog):
    image.write(folder / "wide.png", torch.ones(30, 90, 3))
    code, _, _ = run(capsys, "gatys photo.png --style spots.png --mask wide.png --steps 1 --output a.png")
    assert code == 0
    assert caplog.messages == ["wide.png is 90×30 pixels; resized to 64×48"]


def test_all_layers_are_a_strip(folder, capsys):
    result = made(capsys, "invert photo.png --layer all --steps 2 --trace t.csv --output strip.png")
    assert result == {"picture": "strip.png"}
    layers = [f"relu{i}_1" for i in range(1, 6)]
    assert {p.name for p in folder.glob("strip*")} == {"strip.png", *(f"strip-{layer}.png" for layer in layers)}
    assert {p.name for p in folder.glob("t*.csv")} == {f"t-{layer}.csv" for layer in layers}
    strip = image.read(folder / "strip.png")
    assert strip.shape == (48 + 16, 6 * (64 + 8) + 8, 3)
    for i, part in enumerate([folder / "photo.png", *(folder / f"strip-{layer}.png" for layer in layers)]):
        assert torch.equal(strip[8:-8, 8 + 72 * i : 72 * (i + 1)], image.read(part))


def test_presets_change_defaults_and_flags_win(folder, capsys):
    (folder / "p.yaml").write_text("gatys:\n  steps: 3\n  layers: [relu1_1, relu2_1]\n  content_weight: 2\n")
    result = made(capsys, "gatys photo.png --style spots.png --config p.yaml")
    assert result["step"] == 3
    line = "gatys photo.png --style spots.png --steps 2 --overwrite --config"
    assert made(capsys, f"{line} p.yaml")["step"] == 2
    (folder / "empty.yaml").write_text("gatys:\n")
    assert made(capsys, f"{line}=empty.yaml")["step"] == 2


@pytest.mark.parametrize(
    "line",
    [
        "texture spots.png",
        "invert photo.png",
        "gatys photo.png --style spots.png",
        "gatys photo.png --style spots.png --optimizer adam",
        "dream photo.png",
    ],
)
def test_ctrl_c_keeps_the_best_so_far_and_resume_goes_on(folder, capsys, ctrl_c, line):
    line += " --steps 8 --output a.png --trace t.csv --preview-every 2"
    ctrl_c(5)
    code, out, err = run(capsys, line)
    assert (code, out) == (130, "")
    assert err == "arf: stopped; the best picture so far is a.png, go on with --resume\n"
    assert image.read(folder / "a.png").shape[2] == 3
    assert {p.name for p in folder.glob("a.*")} == {"a.png", "a.resume.safetensors"}
    assert steps(folder / "t.csv") == [1, 2, 3, 4, 5]

    assert "made with another steps; begin again with --restart" in refused(
        capsys, folder, line + " --resume --steps 9"
    )
    result = made(capsys, line + " --resume")
    assert result["step"] == 8
    assert steps(folder / "t.csv") == list(range(1, 9))
    assert {p.name for p in folder.glob("a.*")} == {"a.png"}
    assert "nothing to go on from" in refused(capsys, folder, line + " --resume")


def test_going_on_is_with_the_same_pictures_whatever_their_names(folder, capsys, ctrl_c):
    line = "gatys {} --style spots.png --steps 4 --output a.png"
    ctrl_c(2)
    assert run(capsys, line.format("photo.png"))[0] == 130
    original = (folder / "photo.png").read_bytes()
    image.write(folder / "photo.png", photo(32, 32, 1))
    assert "made with another content; begin" in refused(capsys, folder, line.format("photo.png") + " --resume")
    (folder / "moved.png").write_bytes(original)
    assert made(capsys, line.format(folder / "moved.png") + " --resume")["step"] == 4


def test_ctrl_c_in_a_strip_goes_on_with_the_layer(folder, capsys, ctrl_c):
    line = "invert photo.png --layer all --steps 4 --output a.png --trace t.csv"
    ctrl_c(2, "relu2_1")
    code, _, err = run(capsys, line)
    assert (code, err) == (130, "arf: stopped; the best picture so far is a-relu2_1.png, go on with --resume\n")
    first = (folder / "a-relu1_1.png").read_bytes()
    assert "made with another alpha; begin" in refused(capsys, folder, line + " --resume --alpha 4")
    assert made(capsys, line + " --resume") == {"picture": "a.png"}
    assert (folder / "a-relu1_1.png").read_bytes() == first  # not made again
    for layer in ("relu1_1", "relu2_1", "relu3_1"):
        assert steps(folder / f"t-{layer}.csv") == [1, 2, 3, 4]
    assert not list(folder.glob("*.safetensors"))


def test_a_stopped_job_is_lost_only_when_that_was_asked_for(folder, capsys, ctrl_c):
    line = "gatys photo.png --style spots.png --steps 4 --scales 1 --output a.png"
    ctrl_c(2)
    assert run(capsys, line)[0] == 130
    for more in ("", " --overwrite", " --steps 5"):
        said = refused(capsys, folder, line + more)
        assert "a.png was begun and stopped; go on with --resume, or begin again with --restart" in said
    assert "no layer x" in refused(capsys, folder, line + " --restart --layers x")  # which leaves the state as it is
    assert made(capsys, line + " --resume --tile 64 --save-every 3 --preview-every 1 --device auto")["step"] == 4
    ctrl_c(2)
    assert run(capsys, line + " --overwrite")[0] == 130
    assert made(capsys, line + " --restart --steps 3")["step"] == 3
    assert not (folder / "a.resume.safetensors").exists()


def test_a_result_is_replaced_only_when_that_was_asked_for(folder, capsys):
    line = "gatys photo.png --style {} --steps 4 --scales 1 --save-every 2"
    first = made(capsys, line.format("spots.png"))["picture"]
    second = made(capsys, line.format("other.jpg"))["picture"]  # another name: both are there
    assert (first, second) == ("outputs/photo-spots-gatys.png", "outputs/photo-other-gatys.png")
    kept = {
        f"photo-{style}-gatys{step}.png" for style in ("spots", "other") for step in ("", "-64x48-0002", "-64x48-0004")
    }
    assert {path.name for path in (folder / "outputs").iterdir()} == kept
    said = refused(capsys, folder, line.format("spots.png"))
    assert f"{first} exists already, and so do 2 others; give --overwrite" in said
    (folder / first).unlink()  # what was kept on the way is a result as well
    assert "photo-spots-gatys-64x48-0002.png exists already" in refused(capsys, folder, line.format("spots.png"))
    assert made(capsys, line.format("spots.png") + " --overwrite --steps 3")["step"] == 3
    assert {path.name for path in (folder / "outputs").iterdir()} == kept - {
        "photo-spots-gatys-64x48-0004.png"
    }  # stale


def test_nothing_that_is_read_is_written(folder, capsys):
    (folder / "link.png").symlink_to("photo.png")
    (folder / "a.preview.png").write_bytes((folder / "photo.png").read_bytes())
    (folder / "a-64x48-0001.png").write_bytes((folder / "photo.png").read_bytes())
    (folder / "p.yaml").write_text("gatys:\n  steps: 1\n")
    gatys = "gatys photo.png --style spots.png --steps 1 --overwrite"
    for line, name in (
        (f"{gatys} --output photo.png", "photo.png"),
        (f"{gatys} --output spots.png", "spots.png"),
        (f"{gatys} --output link.png", "link.png"),
        (f"{gatys} --mask left.png --output left.png", "left.png"),
        (f"{gatys} --output o.png --trace photo.png", "photo.png"),
        (f"{gatys} --output o.png --trace ./folder/../spots.png", "spots.png"),
        (f"{gatys} --config p.yaml --output o.png --trace p.yaml", "p.yaml"),
        ("texture a.preview.png --steps 1 --output a.png", "a.preview.png"),
        ("dream a-64x48-0001.png --steps 1 --save-every 1 --output a.png", "a-64x48-0001.png"),
        ("invert photo.png --layer all --steps 1 --output photo.png --overwrite", "photo.png"),
    ):
        assert f"{name} is " in (said := refused(capsys, folder, line))
        assert "read by this command; choose another --output" in said
    assert "two results would both be written to" in refused(capsys, folder, f"{gatys} --output o.png --trace o.png")


def test_a_job_that_was_killed_goes_on_from_its_last_preview(folder, capsys):
    line = "invert photo.png --steps 9 --preview-every 3 --output a.png --trace t.csv"
    program = f"""
import os, signal
from arf import cli
from arf.transfer.engine.job import Job
watch = Job.watch
def watch_and_die(job, moment):
    watch(job, moment)
    if moment.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
Job.watch = watch_and_die
cli.main({[*line.split(), *FAST]!r})
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=folder).returncode == -9
    assert {p.name for p in folder.glob("a.*")} == {"a.preview.png", "a.resume.safetensors"}
    assert image.read(folder / "a.preview.png").shape == (48, 64, 3)
    assert made(capsys, line + " --resume")["step"] == 9
    assert steps(folder / "t.csv") == list(range(1, 10))
    assert {p.name for p in folder.glob("a.*")} == {"a.png"}


@pytest.mark.parametrize("command", ["texture", "invert", "gatys", "dream"])
def test_pictures_that_cannot_be_read(folder, capsys, command):
    for name, message in (
        ("none.png", "no picture at none.png"),
        ("folder", "folder is a folder; name a picture"),
        ("text.png", "text.png is not a picture"),
        ("small.png", "small.png is 40×15 pixels"),
    ):
        assert message in refused(capsys, folder, f"{command} {name} --output a.png")


@pytest.mark.parametrize(
    "command", ["texture spots.png", "invert photo.png", "gatys photo.png --style spots.png", "dream photo.png"]
)
def test_outputs_that_cannot_be_written(folder, capsys, command):
    for flags, message in (
        ("--output a.bmp", "a.bmp: the name must end in .png"),
        ("--output folder", "the name must end in .png"),
        ("--output photo.png/a.png", "cannot write photo.png/a.png"),
        ("--output a.png --trace folder", "cannot write folder: it is a folder"),
        ("--output a.png --trace photo.png/t.csv", "cannot write photo.png/t.csv"),
        ("--output a.png --preview-every -1", "preview_every and save_every"),
        ("--output a.png --save-every -1", "preview_every and save_every"),
        ("--output a.png --resume", "nothing to go on from: there is no a.resume.safetensors"),
    ):
        assert message in refused(capsys, folder, f"{command} --steps 1 {flags}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gatys photo.png", "no style picture"),
        ("gatys photo.png --style none.png", "no picture at none.png"),
        ("gatys photo.png --style small.png", "small.png is 40×15 pixels"),
        ("gatys photo.png --style spots.png --style-weight 1 --style-weight 2", "style_weight is 1 2; it needs 1"),
        ("gatys photo.png --style spots.png --style-weight -1", "style_weight is -1"),
        ("gatys photo.png --style spots.png --layers relu9_9", "no layer relu9_9; compact has relu1_1, relu1_2, "),
        ("gatys photo.png --style spots.png --content-layers x", "no layer x; compact has relu1_1, relu1_2, "),
        ("gatys photo.png --style spots.png --layers", "no layer given; compact has relu1_1"),
        ("gatys photo.png --style spots.png --content-layers", "no layer given; compact has relu1_1"),
        ("gatys photo.png --style spots.png --layers relu1_1 relu1_1", "relu1_1 is given twice"),
        ("gatys photo.png --style spots.png --layer-weights 1 2", "layer_weights is 1 2"),
        ("gatys photo.png --style spots.png --mask black.png", "black.png is empty as a mask"),
        ("gatys photo.png --style spots.png --mask none.png", "no picture at none.png"),
        ("gatys photo.png --style spots.png --mask left.png --mask right.png", "2 masks for 1 styles"),
        ("gatys photo.png --style spots.png --size 3", "size is 3"),
        ("gatys photo.png --style spots.png --size 9999999", "size is 1e+07"),
        ("gatys photo.png --style spots.png --scales 0", "scales is 0"),
        ("gatys photo.png --style spots.png --style-scale 0", "style_scale is 0"),
        ("gatys photo.png --style spots.png --style-strength nan", "style_strength is nan"),
        ("gatys photo.png --style spots.png --history 0", "history is 0"),
        ("gatys photo.png --style spots.png --tile -3", "tile is -3"),
        ("gatys photo.png --style spots.png --device tpu", "device is 'tpu'"),
        ("gatys photo.png --style spots.png --encoder-weights photo.png", "photo.png"),
        ("gatys photo.png --style spots.png --config none.yaml", "no preset at none.yaml"),
        ("texture spots.png --size 3", "size is 3"),
        ("texture spots.png --size 0", "size is 0"),
        ("texture spots.png --size -7", "size is -7"),
        ("texture spots.png --width 3", "width is 3"),
        ("texture spots.png --steps 0", "steps is 0"),
        ("texture spots.png --layers relu9_9", "no layer relu9_9; compact has relu1_1, relu1_2, "),
        ("texture spots.png --tileable --layers relu4_1 --width 50 --height 47", "take --width 48 --height 48"),
        ("invert photo.png --layer relu9_9", "no layer relu9_9; compact has relu1_1, relu1_2, "),
        ("invert photo.png --layer all --steps 0", "steps is 0"),
        ("invert photo.png --size 3", "size is 3"),
        ("invert photo.png --size -7", "size is -7"),
        ("invert photo.png --tv-weight -1", "tv_weight is -1"),
        ("dream photo.png --layer relu9_9", "no layer relu9_9; compact has relu1_1, relu1_2, "),
        ("dream photo.png --layer relu4_1 --channel 9999", "no channel 9999 in relu4_1; it has 0 to "),
        ("dream photo.png --channel -1", "channel is -1"),
        ("dream photo.png --octaves 0", "octaves is 0"),
        ("dream photo.png --octave-scale 1", "octave_scale is 1"),
        ("dream photo.png --steps 0", "steps is 0"),
        ("dream photo.png --learning-rate -1", "learning_rate is -1"),
        ("dream photo.png --seed -1", "seed is -1"),
    ],
)
def test_what_makes_no_sense_is_one_line(folder, capsys, line, message):
    assert message in refused(capsys, folder, f"{line} --output a.png")


def test_presets_that_make_no_sense(folder, capsys):
    for text, message in (
        ("gatys:\n  style_weights: 3\n", "gatys: there is no setting 'style_weights'; known are encoder, "),
        ("gatys:\n  steps: many\n", "gatys: steps: expected int, got str"),
        ("dream:\n  steps: 3\n", "has no section gatys, only dream"),
        ("gatyss:\n  steps: 3\n", "there is no section 'gatyss'; known are fit, "),
        ("gatys: [1, 2]\n", "it needs sections"),
        ("{", "is not readable YAML"),
    ):
        (folder / "p.yaml").write_text(text)
        assert message in refused(capsys, folder, "gatys photo.png --style spots.png --config p.yaml")


def test_pictures_larger_than_memory(folder, capsys, monkeypatch):
    monkeypatch.setattr(network, "free_memory", lambda device: 400_000_000)
    for line, flag in (
        ("invert photo.png --size 50000", "--size "),
        ("gatys photo.png --style spots.png --size 50000", "--size "),
        ("dream photo.png --size 50000", "--size "),
        ("texture spots.png --width 50000 --height 50000", "--width "),
    ):
        err = refused(capsys, folder, f"{line} --output a.png")
        assert "pixels take" in err
        fits = int(err.split(flag)[1].split()[0])
        assert 100 < fits < 5000


def test_help_imports_neither_torch_nor_nerfstudio():
    for words in (["--help"], ["gatys", "--help"]):
        program = (
            f"import sys; from arf import cli\ntry:\n    cli.main({words!r})\nexcept SystemExit as end:\n"
            "    assert not end.code\n"
            "sys.exit(any(m in sys.modules for m in ('torch', 'nerfstudio', 'scipy')))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "gatys" in done.stdout


def test_commands_for_pictures_never_import_nerfstudio(folder):
    line = ["gatys", "photo.png", "--style", "spots.png", "--steps", "1", "--output", "a.png", *FAST]
    program = (
        f"import sys; from arf import cli; code = cli.main({line!r}); sys.exit(code or 'nerfstudio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=folder).returncode == 0
    assert (folder / "a.png").is_file()
