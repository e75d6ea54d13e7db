"""Splats, and paintings of splats, of strangers: they are opened, and nothing that they name is.

A new place in a painting of splats that names a file goes into `NAMED`, a new file beside splats into `BESIDE`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import judge as judges
import pytest
import spoil
from good import OF_PAINTED_SPLATS, OF_SPLATS, VIEWS
from traps import PAYLOADS, ckpt, npy_pickle
from tripwire import MARK

OPENED_BY = {name: call.replace("{painted_splats}", "{bad}/run") for name, call in OF_PAINTED_SPLATS.items()}


@pytest.fixture(scope="session", autouse=True)
def kernels(good, tmp_path_factory) -> None:
    """Compiled, or fetched from numba's own cache, whose pickles are ours."""
    for line in (OF_SPLATS["stylize"], *OF_PAINTED_SPLATS.values()):
        if not line.startswith("view"):
            words = [word.format(**asdict(good), out=tmp_path_factory.mktemp("out")) for word in line.split(" ")]
            assert judges.call(words) == (0, "")


@pytest.fixture
def glance(monkeypatch) -> None:
    """`arf view` ends as soon as it is open."""

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arf.radiance.viewer.viewer.Viewer.wait", stop)


def fit(**values: Callable[[Path], Any]) -> Callable[[dict, Path], object]:
    return lambda info, secret: info["fit"].update({name: of(secret) for name, of in values.items()})


def kept(secret: Path) -> str:
    return str(secret / "kept.png")


NAMED: dict[str, Callable[[dict, Path], object]] = {
    "nothing": lambda info, secret: None,
    "data": fit(data=kept),
    "data, a folder": fit(data=str),
    "data, a link": fit(data=lambda secret: str(secret.parent / "bad" / "link")),
    "data, a device": fit(data=lambda secret: "/dev/zero"),
    "data in a protocol": fit(data=lambda secret: "http://127.0.0.1:9/x.ply"),
    "the run": fit(run=kept),
    "the run, a folder": fit(run=str),
    "the run, splats": fit(run=lambda secret: str(secret / "kept.ply")),
    "both": fit(run=kept, data=kept),
    "a parser": fit(parser=lambda secret: {"name": f"{MARK}.Parser", "data": str(secret)}),
    "a parser's frame": fit(parser=lambda secret: {"name": "nerfstudio-data", "data": str(secret), "frame": {}}),
    "styles": lambda info, secret: info.update(styles=[kept(secret), "/dev/zero", "http://127.0.0.1:9/x.png"]),
    "an encoder's weights": lambda info, secret: info["settings"].update(encoder_weights=kept(secret)),
    "a scene": lambda info, secret: info.update(scene="../../secret/kept"),
}


@pytest.mark.parametrize("command", ["render", "export html", "view"])
@pytest.mark.parametrize("what", NAMED)
def test_what_a_painting_names_is_not_opened(command, what, opened, glance, good, at, secret):
    """Its splats, its views and its colours are its own."""
    (at / "link").symlink_to(secret / "kept.png")
    shutil.copy(good.splats, secret / "kept.ply")
    spoil.run(spoil.folder(at / "run"), good.painted_splats, lambda info: NAMED[what](info, secret))
    said = opened(OPENED_BY[command], at, may=True)
    assert "o." in said if command != "view" else "http://127.0.0.1" in said


MADE: dict[str, Callable[[Path, Path], Path]] = {
    "zip": ckpt,
    "numpy": npy_pickle,
    **{name: lambda path, done, of=of: spoil.file(path.parent, of(done), path.name) for name, of in PAYLOADS.items()},
}


@pytest.mark.parametrize(("command", "suffix"), [("export", ".ply"), ("stylize", ".splat"), ("view", ".spz")])
@pytest.mark.parametrize("what", MADE)
def test_splats_of_code(command, what, suffix, opened, at, done):
    made = MADE[what](at / "x.npy", done)
    opened(OF_SPLATS[command].replace("{splats}", "{bad}"), made.rename(at / f"x{suffix}"))


@pytest.mark.parametrize("what", MADE)
def test_what_is_gone_on_with_is_opened_as_splats_alone(what, opened, good, at, done):
    """A stranger's unfinished painting may name any file: it has to be those splats."""
    made = MADE[what](at / "x.npy", done).rename(at / "x.ply")
    change = lambda info: (info.update(finished=False), info["fit"].update(run=str(made)))  # noqa: E731
    spoil.run(spoil.folder(at / "run"), good.painted_splats, change)
    opened("stylize --resume {bad}/run", at)


@pytest.mark.parametrize("what", MADE)
@pytest.mark.parametrize("name", ["model.safetensors", "resume.safetensors"])
def test_tensors_of_code(name, what, opened, good, at, done):
    run = spoil.run(spoil.folder(at / "run"), good.painted_splats, lambda info: info.update(finished=name[0] == "m"))
    MADE[what](at / "x.npy", done).replace(run / name)
    opened(OPENED_BY["export"] if name[0] == "m" else "stylize --resume {bad}/run", at)


def text(content: str) -> Callable[[Path, Path, Path], object]:
    return lambda path, done, secret: path.write_text(content.format(done=done, secret=secret, mark=MARK))


BESIDE: dict[str, tuple[str, Callable[[Path, Path, Path], object]]] = {
    "cfg_args": ("cfg_args", text("Namespace(x=__import__('os').system('touch {done} # {mark}'))")),
    "cfg_args, a link": ("cfg_args", lambda path, done, secret: path.symlink_to(secret / "kept.png")),
    "input.ply": ("input.ply", lambda path, done, secret: path.symlink_to(secret / "kept.png")),
    "exposure.json": ("exposure.json", lambda path, done, secret: path.symlink_to(secret / "kept.png")),
    "chkpnt.pth": ("chkpnt30000.pth", lambda path, done, secret: ckpt(path, done)),
    "config.yml": ("config.yml", text("!!python/object/apply:os.system ['touch {done} # {mark}']")),
    "arf.json": ("arf.json", text("{{}}")),
}


@pytest.mark.parametrize("command", ["export", "view"])
@pytest.mark.parametrize("what", BESIDE)
def test_files_beside_splats_are_not_opened(what, command, opened, glance, good, at, done, secret):
    place = at / "run" / "point_cloud" / "iteration_7"
    place.mkdir(parents=True)
    header, data = good.splats.read_bytes().split(b"end_header\n", 1)
    more = f"comment TextureFile {secret}/kept.png\nobj_info include {secret}/kept.png\nend_header\n".encode()
    (place / "point_cloud.ply").write_bytes(header + more + data)
    name, make = BESIDE[what]
    make(at / "run" / name, done, secret)
    opened(OF_SPLATS[command].replace("{splats}", "{bad}/run"), at, may="write")


@pytest.mark.parametrize("name", ["splats.ply", "walk.html", "."])
def test_what_is_shared_stays_in_its_run(name, opened, good, at, secret):
    run = spoil.run(spoil.folder(at / "run"), good.painted_splats, lambda info: None)
    if name != ".":
        (run / name).symlink_to(secret / "kept.png")
    opened(f"export {{bad}} --format {'html' if name == 'walk.html' else 'ply'} --overwrite", run, may="write")
    assert name == "." or (run / name).is_symlink()


class Outline(HTMLParser):
    """The elements of a page and the names of their attributes, and the text of some."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, ...]] = []
        self.texts: dict[str, list[str]] = {}
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.elements.append((tag, *(name for name, _ in attributes)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("title", "option", "h1"):
            self.texts.setdefault(self.inside, []).append(data)


HOSTILE = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'\"><svg onload=alert(1)>", "]]>--><!--",
    "a\n</title>\r\x1b[31m\u2028\u2029b", "&lt;b&gt;{{ 7 * 7 }}{% raw %}", "a\u202egnp.\u2066b\udcff", "javascript:x",
)  # fmt: skip
UNSAID = set("\x00\x1b\n\r\u2028\u2029\u202e\u2066\udcff")


def page_of(at: Path, good: Any, opened: Callable, scene: str, styles: list[str]) -> Outline:
    """The page of paintings with such names."""
    for k, name in enumerate(styles):
        run = spoil.folder(at / f"run{k}")
        spoil.run(run, good.painted_splats, lambda info, name=name: info.update(scene=scene, styles=[name]))
    line = " ".join(f"{at}/run{k}" for k in range(len(styles)))
    assert "o.html" in opened(f"export {line} --output {at}/o.html", may="write")
    return Outline((at / "o.html").read_text(encoding="utf-8"))


def test_names_are_words_on_pages(opened, good, at):
    plain = page_of(spoil.folder(at / "plain"), good, opened, "scene", [f"/{k}.png" for k in range(len(HOSTILE))])
    assert {"title", "option"} <= plain.texts.keys()
    for k, scene in enumerate((HOSTILE[0], HOSTILE[4], HOSTILE[6], "a\0b")):
        named = page_of(spoil.folder(at / f"{k}"), good, opened, scene, [name + ".png" for name in HOSTILE])
        assert named.elements == plain.elements
        said = "".join(text for texts in named.texts.values() for text in texts)
        assert "onerror=alert(1)" in said
        assert not UNSAID & set(said.replace("\n", ""))


def test_the_name_of_a_file_is_words_on_its_page(opened, good, at, tmp_path):
    pages = []
    for name in ("plain.ply", "'\"><img src=x onerror=alert(1)>\u202e\n.ply"):
        shutil.copy(good.splats, at / name)
        opened(f"export {{bad}} {VIEWS} --overwrite --output {{out}}/o.html", at / name, may="write")
        pages.append(Outline((tmp_path / "out" / "o.html").read_text(encoding="utf-8")))
    assert pages[0].elements == pages[1].elements
    assert "onerror=alert(1)" in "".join(pages[1].texts["title"])


@pytest.mark.parametrize("flag", ["--cameras", "--capture"])
@pytest.mark.parametrize("what", MADE)
def test_cameras_of_code(what, flag, opened, at, done):
    made = MADE[what](at / "x.npy", done)
    opened(f"{OF_SPLATS['export']} {flag} {{bad}}", made.rename(at / "transforms.json"))


def test_a_capture_for_splats_leads_nowhere(opened, good, at, secret):
    change = lambda meta: [frame.update(file_path=kept(secret)) for frame in meta["frames"]]  # noqa: E731
    spoil.capture(at, good.capture, change)
    assert "--allow-outside" in opened(f"{OF_SPLATS['export']} --capture {{bad}}", at)


def test_cameras_that_name_photographs_open_none(opened, at, secret):
    entry = {"width": 40, "height": 30, "fx": 50.0, "fy": 50.0, "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    entries = [{**entry, "img_name": kept(secret), "position": [x, 0, -6]} for x in (0, 1)]
    cameras = spoil.file(at, json.dumps(entries), "cameras.json")
    opened(f"{OF_SPLATS['export']} --cameras {{bad}}", cameras, may=True)
