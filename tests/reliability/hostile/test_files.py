"""Models, captures, presets, pictures and videos of strangers.

A new place for a model goes into `MODELS`, a new way out of a capture into `WAYS_OUT`.
"""

from __future__ import annotations

import http.server
import pickle
import shutil
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import spoil
from good import CALLS
from PIL import Image
from traps import PAYLOADS, ckpt, npy_pickle, npz_pickle, old_ckpt, yaml_lines

MODELS = {
    "fast": f"{CALLS['fast']} --model {{bad}}",
    "adain": f"{CALLS['adain']} --model {{bad}}",
    "cast": f"{CALLS['cast']} --model {{bad}}",
    "video": f"{CALLS['video']} --model {{bad}}",
    "onnx": CALLS["onnx"].replace("{fast}", "{bad}"),
    "train": f"{CALLS['train']} --init {{bad}}",
    "gatys": f"{CALLS['gatys']} --encoder-weights {{bad}}",
    "stylize": f"{CALLS['stylize']} --encoder-weights {{bad}}",
}
MADE: dict[str, Callable[[Path, Path], Path]] = {
    "zip": ckpt,
    "old": old_ckpt,
    "numpy": npy_pickle,
    **{name: lambda path, done, of=of: spoil.file(path.parent, of(done), path.name) for name, of in PAYLOADS.items()},
}


@pytest.mark.parametrize("place", MODELS)
@pytest.mark.parametrize("what", MADE)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_models(place, what, suffix, opened, at, done):
    made = MADE[what](at / "x.npy", done)
    opened(MODELS[place], made.rename(at / f"x{suffix}"))


def by_json(name: Callable[[Path], str], key: str = "file_path") -> Callable:
    def make(good, at, secret):
        spoil.capture(at, good.capture, lambda meta: [frame.update({key: name(secret)}) for frame in meta["frames"]])

    return make


def colmap(name: bytes) -> Callable:
    def make(good, at, secret):
        (at / "images").symlink_to(good.capture / "images")
        model = at / "sparse" / "0"
        model.mkdir(parents=True)
        count = struct.pack("<Q", 1)
        (model / "cameras.bin").write_bytes(count + struct.pack("<iiQQ4d", 1, 1, 32, 32, 30, 30, 16, 16))
        image = struct.pack("<i7di", 1, 1, 0, 0, 0, 0, 0, 0, 1) + name + b"\0" + struct.pack("<Q", 0)
        (model / "images.bin").write_bytes(count + image)
        (model / "points3D.bin").write_bytes(struct.pack("<Q", 0))

    return make


WAYS_OUT: dict[str, Callable] = {
    "a relative name": by_json(lambda secret: "../secret/kept.png"),
    "a name from the root": by_json(lambda secret: str(secret / "kept.png")),
    "a name with backslashes": by_json(lambda secret: "..\\secret\\kept.png"),
    "a mask": by_json(lambda secret: str(secret / "kept.png"), "mask_path"),
    "depths": by_json(lambda secret: str(secret / "kept.png"), "depth_file_path"),
    "a name in COLMAP": colmap(b"../../secret/kept.png"),
    "a protocol": by_json(lambda secret: "http://127.0.0.1:9/x.png"),
}
MAY = {"depths"}


@pytest.mark.parametrize("what", WAYS_OUT)
def test_captures_lead_nowhere(what, opened, good, at, secret):
    WAYS_OUT[what](good, at, secret)
    opened(CALLS["fit"].replace("{capture}", "{bad}"), at, may=what in MAY)


@pytest.mark.parametrize("name", ["poses_bounds.npy", "train.npz"])
def test_captures_of_pickles(name, opened, good, at, done):
    (at / "images").symlink_to(good.capture / "images")
    (npy_pickle if name.endswith("npy") else npz_pickle)(at / name, done)
    opened(CALLS["fit"].replace("{capture}", "{bad}"), at)


@pytest.mark.parametrize("what", yaml_lines(Path("done")))
@pytest.mark.parametrize("where", ["fit: {line}", "fit: {{steps: {line}}}", "{line}"])
def test_presets(what, where, opened, at, done):
    preset = spoil.file(at, where.format(line=yaml_lines(done)[what]), "p.yaml")
    opened(f"{CALLS['fit']} --config {{bad}}", preset)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".webp", ".npy", ".eps", ".pdf", ".svg"])
def test_pictures_of_code(suffix, opened, at, done):
    """PostScript that runs, a pickle, a page with a script: none of them is a picture."""
    code = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({done}) (w) file closefile\n".encode()
    picture = spoil.file(at, code if suffix != ".npy" else pickle.dumps([1]), f"x{suffix}")
    opened(CALLS["gatys"].replace("{photo}", "{bad}"), picture)


def test_names_of_pictures_are_words_in_reports(opened, good, at, tmp_path):
    name = "<img src=x onerror=alert(1)>&quot;'.png"
    shutil.copy(good.photo, at / name)
    line = "features {bad} --other {bad} --size 48 --layers relu2_1 --channels 2 --output {out}/o"
    opened(line, at / name, may=True)
    page = (tmp_path / "out" / "o" / "report.html").read_text()
    assert "onerror" in page
    assert "<img src=x" not in page


@pytest.fixture
def served():
    """A server on this machine, and the paths that it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/x", asked
    server.shutdown()
    server.server_close()


VIDEOS: dict[str, Callable[[str, Path], tuple[str, str]]] = {
    "a playlist": lambda url, secret: ("x.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}.ts\n"),
    "a playlist named otherwise": lambda url, secret: ("x.mp4", f"#EXTM3U\n#EXTINF:9,\n{url}.ts\n"),
    "a playlist of the disk": lambda url, secret: ("x.mp4", f"#EXTM3U\n#EXTINF:9,\nfile://{secret}/kept.png\n"),
    "a concat list": lambda url, secret: ("x.ffconcat", f"ffconcat version 1.0\nfile {url}.mp4\n"),
    "a manifest": lambda url, secret: ("x.mpd", f"<MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>"),
    "a session": lambda url, secret: ("x.sdp", "v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"),
}


@pytest.mark.parametrize("what", VIDEOS)
def test_videos_fetch_nothing(what, opened, served, at, secret):
    url, asked = served
    name, text = VIDEOS[what](url, secret)
    opened(CALLS["video"].replace("{video}", "{bad}"), spoil.file(at, text, name))
    assert asked == []


@pytest.mark.parametrize("name", ["{url}.mp4", "hls+{url}", "async:{url}", "cache:{url}", "tcp:{address}", "-i {url}"])
def test_names_of_videos_are_names(name, opened, served):
    url, asked = served
    opened(
        CALLS["video"].replace("{video} ", "") + " -- {bad}", name.format(url=url, address=url.removeprefix("http:"))
    )
    assert asked == []


def test_a_picture_is_read_as_what_it_is(opened, good, at, secret):
    """A name with a pattern, or with a second one behind it, is a name."""
    Image.open(good.photo).save(at / "%05d.png")
    opened(CALLS["gatys"].replace("{photo}", "{bad}"), at / "%05d.png", may=True)
