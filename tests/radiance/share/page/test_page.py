"""The file: small, whole or not at all, and whatever it is called it says nothing but that."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape

import pytest
import torch
from pages import FPS, some_paints, some_ride, some_splats, write_some

from arf.errors import UserError
from arf.radiance.share.page import page
from arf.radiance.share.page.page import Paint, write_page

POSTER = torch.full((6, 8, 3), 0.5)
EVIL = "</title></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`${alert(3)}&lt;\u2028\u2029\0\ud800"


def without_data(text: str) -> str:
    return re.sub(r"base64,[\w+/=]*|(?<=class=\"block\">)[\w+/=]*", "", text)


def test_scripts_are_small():
    lines = {path.name: len(path.read_text().splitlines()) for path in page.WEB.glob("*.js")}
    assert {*page.SCRIPTS, "sorter.js"} == set(lines)
    assert sum(lines.values()) < 600


def test_nothing_comes_from_elsewhere(tmp_path):
    size = write_some(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert size == (tmp_path / "page.html").stat().st_size
    rest = without_data(text)
    assert len(rest) < 60_000
    assert not re.search(r"http:|https:|//[a-z]|@import|url\(", rest)
    assert "default-src 'none'" in rest
    assert set(re.findall(r'(?:src|href)="([^"]*)"', rest)) == {"data:,", "data:image/jpeg;"}


def test_two_hundred_thousand_splats_take_less_than_twelve_megabytes(tmp_path):
    splats = some_splats(200_000)
    splats.opacities.clamp_(min=0.01)  # all are seen
    assert write_page(tmp_path / "page.html", splats, some_paints(splats)[:2], some_ride(), FPS, POSTER, "x") < 7.6e6


def test_words_stay_words(tmp_path):
    splats = some_splats()
    paints = [replace(paint, name=EVIL) for paint in some_paints(splats)]
    write_page(tmp_path / "page.html", splats, paints, some_ride(), FPS, POSTER, EVIL)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    plain = escape(EVIL[:-4]).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    assert text.count(plain + "    ") == text.count("alert(1)") == 8
    assert not set("\u2028\u2029\0") & set(text)
    write_some(tmp_path / "good.html")
    assert text.count("<script") == (tmp_path / "good.html").read_text(encoding="utf-8").count("<script")


def test_what_the_scripts_are_told_is_json(tmp_path):
    write_some(tmp_path / "page.html", antialiased=True)
    scene = re.search(r'id="scene">(.*?)</script>', (tmp_path / "page.html").read_text(encoding="utf-8"))[1]
    told = json.loads(scene)
    assert (told["fps"], told["antialiased"], len(told["frames"]), len(told["ranges"])) == (FPS, True, 12, 3)


def test_a_large_poster_is_made_smaller(tmp_path):
    splats = some_splats()
    large = torch.rand(3000, 4000, 3, generator=torch.Generator().manual_seed(0))
    assert write_page(tmp_path / "page.html", splats, some_paints(splats)[:1], some_ride(), FPS, large, "x") < 2e6


def test_beside_the_poster_is_its_rims_colour(tmp_path):
    splats = some_splats()
    poster = torch.zeros(6, 8, 3)
    poster[:, 0], poster[:, -1] = torch.tensor([1, 0.5, 0]), torch.tensor([0, 0.5, 0])
    write_page(tmp_path / "page.html", splats, some_paints(splats), some_ride(), FPS, poster, "x")
    assert 'style="background: rgb(128, 128, 0)"' in (tmp_path / "page.html").read_text()


def test_the_same_page_twice(tmp_path):
    for name in "ab":
        write_some(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_scene_without_anything_to_see_is_refused(tmp_path):
    splats = some_splats()
    splats.opacities[:] = 0
    with pytest.raises(UserError, match="there is no splat to show"):
        write_page(tmp_path / "page.html", splats, some_paints(splats), some_ride(), FPS, POSTER, "x")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_keeps_what_it_held(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="it is a folder"):
        write_some(tmp_path / "folder")
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.parametrize("wrong", ["no paint", "too few colours", "no camera", "a fisheye"])
def test_what_makes_no_page(tmp_path, wrong):
    splats, ride = some_splats(), some_ride()
    paints = [Paint("x", splats.colors[:-1] if wrong == "too few colours" else splats.colors, torch.zeros(3))]
    ride = {"no camera": ride[:0], "a fisheye": replace(ride, kind="fisheye")}.get(wrong, ride)
    with pytest.raises(ValueError, match=r"paints|pinhole"):
        write_page(tmp_path / "x", splats, paints[: wrong != "no paint"], ride, FPS, POSTER, "x")
