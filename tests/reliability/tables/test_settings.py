"""Settings that make no sense, and arguments that no command takes.

A new command's settings go into `WRONG`: flags for the end of its shortest call, with bars between them; a new flag for
splats into `FOR_SPLATS`.
"""

from __future__ import annotations

import pytest
from good import CALLS, OF_SPLATS

WRONG = {
    "gatys": "--size -5 | --size 0 | --size 1 | --size 10000000 | --steps 0 | --steps -1 | --style-weight nan |"
    "--style-weight -1 | --style-weight 0 | --content-weight nan | --content-weight inf | --tv-weight -1 |"
    "--style-strength nan | --learning-rate nan | --scales 0 | --scales 1000 | --tile 1 | --seed -1 |"
    "--seed 99999999999999999999 | --style-scale 0 | --style-scale 1e9 | --layers nowhere | --layers |"
    "--layer-weights nan | --history -1 | --averaging nan | --preview-every -1 | --save-every -3 | --device cuda:99 |"
    "--device tpu | --tv-beta nan | --encoder soup",
    "texture": "--width 0 | --width -1 | --width 10000000 | --height 0 | --size 1 | --size 100000 | --seed -1",
    "invert": "--layer x | --size 0 | --tv-weight nan | --tv-beta nan | --seed -1 | --steps 0",
    "dream": "--octaves 0 | --octaves 1000 | --octave-scale 0 | --octave-scale nan | --layer x | --channel 99999 |"
    "--seed -1 | --size 0 | --steps 0",
    "features": "--channels 0 | --layers x | --size 0 | --channels -1",
    "adain": "--alpha nan | --alpha 5 | --size 0 | --size -1 | --size 10000000 | --style-size 0 | --model x |"
    "--style-weight inf | --device x",
    "cast": "--alpha nan | --size 0 | --style-size 0 | --model x | --style-weight -1 | --device x",
    "fast": "--style 99 | --style -1 | --style nowhere | --size 0 | --device x | --model x | --style-weight nan",
    "video": "--size 0 | --size -4 | --batch 0 | --save-every 0 | --quality 99 | --smooth-strength 2 |"
    "--style-weight nan | --smooth --smooth-strength nan | --style nowhere | --method fast | --method adain |"
    "--alpha 5",
    "cameras": "--frames 0 | --frames -1 | --frames 1e3 | --frames 20 | --matching soup | --matching",
    "fit": "--frames 1 | --frames 20 | --matching similar |"
    "--downscale 0 | --downscale -1 | --downscale nan | --downscale 1e9 | --held-out 2 | --held-out nan |"
    "--held-out -1 | --steps 0 | --steps -7 | --resolutions 1 | --resolutions 5000 | --background a,b,c |"
    "--background nan,nan,nan | --background 1,1 | --background 9,9,9 | --learning-rate nan | --learning-rate 0 |"
    "--stages 2 3 | --step 0 | --samples 0 | --seed -1 | --seed 99999999999999999999 | --save-every 0 |"
    "--prune-below nan | --scene forward | --format llff | --device x | --distortion nan | --smoothness -1",
    "stylize": "--size 1 | --size 0 | --size 10000000 | --each --style-weights 1 | --style-scale 0 |"
    "--style-weights 1 2 3 | --style-weights nan | --style-weight nan |"
    "--layers x | --layers | --neighbours 0 | --drop-weight 0.9 | --color-resolution 64 | --epochs 0 |"
    "--cache-memory -1 | --cache-memory nan | --seed -1 | --save-every 0 | --learning-rate inf | --device x |"
    "--start soup | --region x | --region | --region {photo}@nowhere | --region {bad}@frame_0001 |"
    "--region sphere=9,9,9,0.1 | --region depth=0,1 --each | --region depth=0,1 --region depth=0,1 |"
    "--region depth=0,1 --style-weights 1 | --show-regions {out}/r.png | --region depth=0,1 --show-regions {photo} |"
    "--region depth=0,1 --show-regions {out}/r.txt | --region sphere=9,9,9,0.1 --show-regions {out}/r.png |"
    "--region depth=0,1 --show-regions /proc/r.png | --reference {photo} | --reference {bad} | --view frame_0001 |"
    "--reference {photo} --view frame_0001 | --region depth=0,1 --resume {painted} | --view x --resume {painted}",
    "lift": "--size 1 | --size 0 | --size 10000000 | --style-weights 1 2 3 | --style-weights nan | --with soup |"
    "--with | --drop-weight 0.9 | --color-resolution 64 | --cache-memory -1 | --passes 0 | --passes nan |"
    "--passes 1e9 | --device x | --model x | --encoder-weights {photo} | --steps 5 | --with gatys --steps 0 |"
    "--elsewhere soup | --with fast | --pictures {folder} | --pictures {bad} | --export-views {out}/v | --seed -1 |"
    "--style {bad} | --style nowhere | --with gatys --model x",
    "blend": "--weights 1 | --weights 0.5 0.6 | --weights nan nan | --weights -1 2 | --weights x |"
    "--size 0 | --device x | {fit} | {photo} | {bad}",
    "render": "--look-curve 0 | --look-curve 2 | --strength-curve 0 1 | --strength-curve 2 | --loop |"
    "{painted} --loop 1 | {painted_splats} | {photo} |"
    "--frames 0 | --frames -1 | --frames 1000000000 | --fps 0 | --fps nan | --fps 1e9 | --fps 1e-300 |"
    "--width 0 | --width 1 | --width 1000000 | --height -2 | --quality 0 | --strength nan | --strength 0.5 |"
    "--compare | --path nowhere | --preserve-color | --device x",
    "export": "--points 0 | --points -1 | --points 1e3 | --points 1000000000 | --strength 2 | --strength nan |"
    "--device x | --count 0 | --count -1 | --count nan | --count 1000000000 | --format soup | --format html |"
    "--format spz | --format splat | --format | --frame nowhere | --frame",
    "train": "--batch 0 | --crop 0 | --crop 100000 | --load 4 | --steps 0 | --width 0 | --width 1000000 |"
    "--learning-rate nan | --workers -1 | --content-weight nan | --save-every 0 | --style-size 1 | --seed -1 |"
    "--device x",
    "view": "--port 0 | --port -1 | --port 99999 | --host nowhere.invalid | --host= | --device x",
    "demo": "--seed -1 | --device x",
    "onnx": "--model x",
    "evaluate": "--device x | --pairs 3 | --length 9 | --style {style} | --path orbit | --encoder vgg19 |"
    "--output o.html | --protocol stylos | --frames {capture} | --frames {photo} | --frames {bad} |"
    "--against {photo} | --against {fit}",
}
FLAGS = [f"{command}: {flag.strip()}" for command, flags in WRONG.items() for flag in flags.split("|")]
MAY = {"gatys: --tile 1"}


def test_every_command_is_here():
    assert WRONG.keys() == CALLS.keys()


@pytest.mark.parametrize("what", FLAGS)
def test_settings(what, judge):
    command, flag = what.split(": ")
    judge(f"{CALLS[command]} {flag}", may=what in MAY)


OF_PICTURES = (
    "--pictures {bad} | --pictures {photo} | --pictures {folder} | --pictures {capture} | --pictures= | --pictures |"
    "--pictures {capture} --style {style} | --pictures {capture} --model x | --pictures {capture} --steps 3 | |"
    "--export-views {photo} | --export-views /proc/o | --export-views {photo}/o | --export-views {capture}/images |"
    "--export-views {out}/v --size 0 | --export-views {out}/v --pictures {capture}"
)


@pytest.mark.parametrize("flag", [flag.strip() for flag in OF_PICTURES.split("|")])
def test_flags_of_pictures_of_views(flag, judge):
    judge(f"lift {{fit}} --output {{out}}/o {flag}")


OF_REFERENCES = (
    "--reference {bad} | --reference {photo} | --reference {folder} | --reference {photo} --view nowhere | --view x |"
    "--reference {folder} --view frame_0001 | --reference {photo} --view frame_0001 --region depth=0,1 |"
    "--reference {photo} --view frame_0001 --preserve-color | --reference {photo} --view frame_0001 --each |"
    "--reference {photo} --view frame_0001 --show-regions {out}/r.png | --reference= | --reference"
)


@pytest.mark.parametrize("flag", [flag.strip() for flag in OF_REFERENCES.split("|")])
def test_flags_of_references(flag, judge):
    judge(f"stylize {{fit}} --layers relu2_1 --steps 1 --output {{out}}/o {flag}")


OF_PAINTINGS = (
    "--device x | --pairs 0 | --pairs -1 | --pairs nan | --length 7 | --length 1e9 | --size 63 | --size 1e3 |"
    "--photographs 0 | --path nowhere | --path nowhere.json | --path {photo} | --protocol soup | --protocol stylos |"
    "--encoder soup | --encoder-weights {photo} | --style {bad} | --style {capture} | --frames {folder} |"
    "--frames {photo} | --frames {bad} | --frames= | --against {bad} | --against {fit} | --against {photo} |"
    "--output {style} | --output {folder} | --output {out}/o.png | --output /proc/o.html | --output {photo}/o.html"
)


@pytest.mark.parametrize("flag", [flag.strip() for flag in OF_PAINTINGS.split("|")])
def test_flags_of_a_measured_painting(flag, judge, monkeypatch, at):
    monkeypatch.setenv("TORCH_HOME", str(at))  # which has no weights
    judge(f"evaluate {{painted}} --output {{out}}/o.html {flag}")


FOR_SPLATS = (
    "--views 0 | --views 1 | --views -1 | --views 10001 | --views 1e3 | --views nan | --views | --view-size 0 |"
    "--view-size 31 | --view-size 4097 | --view-size -1 | --view-size nan | --view-size 100000000000000000000 |"
    "--stand up | --stand | --up w | --up + | --up -w | --backdrop 9,9,9 | --backdrop nan,nan,nan | --backdrop 1,1 |"
    "--backdrop inf,0,0 | --backdrop -1,0,0 | --backdrop white | --backdrop= | --cameras= | --capture= |"
    "--cameras /nowhere.json | --capture /nowhere | --cameras {capture} --capture {capture} | --cameras {photo} |"
    "--cameras {folder} | --cameras {splats} | --capture {photo} | --capture {folder} | --capture {splats} |"
    "--capture {fit} | --capture {capture} | --cameras /dev/zero | --capture /dev/zero | --resume"
)


@pytest.mark.parametrize("flag", [flag.strip() for flag in FOR_SPLATS.split("|")])
def test_flags_for_splats(flag, judge):
    judge(f"{OF_SPLATS['export']} {flag}")


@pytest.mark.parametrize("flag", ["--views 0", "--backdrop white", "--cameras /nowhere.json", "--capture {splats}"])
@pytest.mark.parametrize("command", [name for name in OF_SPLATS if name != "export"])
def test_flags_for_splats_of_every_command(command, flag, judge):
    judge(f"{OF_SPLATS[command]} {flag}")


@pytest.mark.parametrize(
    "call", ["stylize {fit}", "render {fit}", "export {fit}", "view {fit}", "export {painted_splats}"]
)
@pytest.mark.parametrize("flag", ["--views 3", "--up z", "--stand inside", "--cameras {photo}", "--capture {capture}"])
def test_flags_for_splats_with_a_run(flag, call, judge):
    assert "has cameras of its own" in judge(f"{call} {flag}")


@pytest.mark.parametrize("command", CALLS)
@pytest.mark.parametrize("flag", ["--threads 0", "--threads -1", "--threads 100000", "--threads 1.5", "--threads"])
def test_threads_of_every_command(command, flag, judge):
    judge(f"{CALLS[command]} {flag}")


@pytest.mark.parametrize("command", CALLS)
@pytest.mark.parametrize("flag", ["--zzz", "--zzz=1", "--output", "-z", "--json=x", "--config /nowhere.yaml"])
def test_arguments(command, flag, judge):
    judge(f"{CALLS[command]} {flag}")


@pytest.mark.parametrize("line", ["", "soup", "--soup", "fi", "-", "--", "fit fit", "render", "gatys", "onnx", "train"])
def test_commands(line, judge):
    judge(line)
