import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from arf.errors import UserError
from arf.media import image, video
from arf.media.report import Commands, Curves, Gallery, Picture, Section, Table, Video, write_report

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = '<script>alert("1")</script> & "quoted" \'too\''


class Page(HTMLParser):
    """Elements with their attributes and their own text; refuses a page whose tags do not nest."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            self.open[-1][2] += data

    def all(self, tag):
        return [(attributes, text.strip()) for name, attributes, text in self.elements if name == tag]

    def texts(self, tag):
        return [text for _, text in self.all(tag)]

    def classed(self, name):
        return [e for e in self.elements if name in e[1].get("class", "").split()]


def written(tmp_path, *parts, **section):
    write_report(tmp_path / "report.html", "Title", "Lead", [Section(parts=parts, **section)])
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def embedded(uri, media):
    start, content = uri.split(",")
    assert start == f"data:{media};base64"
    return base64.b64decode(content, validate=True)


def noise(height, width, seed=0):
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "film.mp4"
    with video.Writer(path) as writer:
        for seed in range(3):
            writer.write(noise(16, 16, seed))
    return path


@pytest.fixture
def sections(tmp_path, mp4):
    """One of everything."""
    image.write(tmp_path / "a.png", noise(8, 12))
    rows = [{"step": i, "loss": 1 / (i + 1), "psnr": 20.0 + i} for i in range(9)]
    return [
        Section("Film", parts=[Video(mp4, "a film")]),
        Section("Pictures", "one\n\ntwo", [Gallery([Picture(tmp_path / "a.png", "a"), Picture(noise(4, 4), "b")])]),
        Section("Curves", parts=[Curves(rows, caption="of the fit"), Curves(rows[:1], names=["loss"], log=True)]),
        Section("Figures", parts=[Table([("fit", 1.5)], header=("stage", "seconds"), caption="times")]),
        Section("Next", parts=[Commands(["# look", "arf view run"])]),
    ]


def test_the_page_holds_its_words(tmp_path, sections):
    write_report(tmp_path / "r.html", "A title", "A lead.", sections)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(text)
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert page.texts("title") == page.texts("h1") == ["A title"]
    assert page.texts("h2") == ["Film", "Pictures", "Curves", "Figures", "Next"]
    assert "A lead." in page.texts("p")
    assert {"one", "two"} <= set(page.texts("p"))
    assert page.texts("figcaption") == ["a film", "a", "b", "of the fit", "times"]
    assert page.all("html")[0][0]["lang"] == "en"
    metas = [attributes for attributes, _ in page.all("meta")]
    assert {"charset": "utf-8"} in metas
    assert any(meta.get("name") == "viewport" for meta in metas)


def test_nothing_comes_from_elsewhere(tmp_path, sections):
    write_report(tmp_path / "r.html", "A title", "", sections)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(", text)
    page = Page(text)
    addresses = [e[1][key] for e in page.elements for key in ("src", "href", "poster", "srcset", "data") if key in e[1]]
    assert len(addresses) == 4  # the icon, a film, two pictures
    assert all(address.startswith("data:") for address in addresses)
    policy = next(m["content"] for m, _ in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_files_go_in_byte_for_byte(tmp_path, mp4):
    image.write(tmp_path / "a.png", noise(5, 7))
    image.write(tmp_path / "b.jpg", noise(6, 9))
    (tmp_path / "a.png").rename(tmp_path / "misnamed.jpg")  # the content says what it is
    page = written(tmp_path, Picture(tmp_path / "misnamed.jpg"), Picture(str(tmp_path / "b.jpg"), "B"), Video(mp4))
    (png, _), (jpeg, _) = page.all("img")
    assert embedded(png["src"], "image/png") == (tmp_path / "misnamed.jpg").read_bytes()
    assert embedded(jpeg["src"], "image/jpeg") == (tmp_path / "b.jpg").read_bytes()
    assert (png["width"], png["height"], png["alt"]) == ("7", "5", "")
    assert (jpeg["width"], jpeg["height"], jpeg["alt"]) == ("9", "6", "B")
    (film, _) = page.all("video")[0]
    assert embedded(film["src"], "video/mp4") == mp4.read_bytes()
    assert {"autoplay", "loop", "muted", "playsinline", "controls"} <= film.keys()


def test_a_tensor_and_a_format_that_browsers_do_not_show_go_in_as_png(tmp_path):
    tensor = noise(4, 6)
    pixels = (tensor * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(tmp_path / "a.tiff")
    page = written(tmp_path, Picture(tensor, pixelated=True), Picture(tmp_path / "a.tiff"))
    for attributes, _ in page.all("img"):
        file = Image.open(io.BytesIO(embedded(attributes["src"], "image/png")))
        np.testing.assert_array_equal(np.asarray(file), pixels)
    assert [attributes.get("class") for attributes, _ in page.all("img")] == ["pixelated", None]


def test_the_callers_words_are_text_and_never_markup(tmp_path):
    rows = [{"step": i, HOSTILE: float(i)} for i in range(3)]
    page = written(
        tmp_path,
        Picture(noise(2, 2), HOSTILE),
        Table([(HOSTILE, HOSTILE)], header=(HOSTILE, "b"), caption=HOSTILE),
        Curves(rows, caption=HOSTILE),
        Commands([HOSTILE, "# " + HOSTILE]),
        heading=HOSTILE,
        text=HOSTILE,
    )
    assert len(page.all("script")) == 1  # the page's own
    assert page.all("img")[0][0]["alt"] == HOSTILE
    assert page.texts("h2") == page.texts("code") == page.texts("td") == page.texts("b") == [HOSTILE]
    assert page.texts("figcaption") == [HOSTILE] * 3
    assert page.texts("p").count(HOSTILE) == 2  # the section's text and the remark


def test_the_same_sections_give_the_same_bytes(tmp_path, sections):
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, "T", "L", sections)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize(("count", "rows"), [(0, []), (1, [1]), (4, [4]), (5, [3, 2]), (8, [4, 4]), (9, [3, 3, 3])])
def test_galleries_break_into_even_rows(tmp_path, count, rows):
    page = written(tmp_path, Gallery([Picture(noise(2, 3), str(i)) for i in range(count)]))
    assert [attributes["alt"] for attributes, _ in page.all("img")] == [str(i) for i in range(count)]
    kinds = " ".join(e[1].get("class", "") for e in page.elements if e[0] in ("div", "figure"))
    assert [row.count("picture") for row in kinds.split("row")[1:]] == rows
    assert kinds.count("room") == (max(rows) * len(rows) - count if rows else 0)  # keeps the last row in its columns


def test_columns_of_numbers_and_only_those_are_set_to_the_right(tmp_path):
    rows = [("fit", 41.23456, 1200, "a"), ("film", 2.0, 96, 3)]
    page = written(tmp_path, Table(rows, header=("stage", "seconds", "steps", "note")))
    assert page.texts("th") == ["stage", "seconds", "steps", "note", "fit", "film"]
    assert page.texts("td") == ["41.23", "1200", "a", "2", "96", "3"]
    assert [e[2].strip() for e in page.classed("number")] == ["seconds", "steps", "41.23", "1200", "2", "96"]


def test_numbers_as_text_are_numbers(tmp_path):
    page = written(
        tmp_path, Table([("ours", "0.237", "82 %", "2 of 6"), ("paper", "-1", "", "6")], ("", "a", "b", "c"))
    )
    assert [e[2].strip() for e in page.classed("number")] == ["a", "b", "0.237", "82 %", "-1", ""]


def test_a_ragged_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        written(tmp_path, Table([(1, 2), (1, 2, 3)]))


def line(page):
    """Vertices of the only path that is drawn in the accent colour."""
    (path,) = [e[1]["d"] for e in page.elements if e[0] == "path" and "var(--accent)" in e[1].get("style", "")]
    return np.array([[float(x) for x in pair] for pair in re.findall(r"[ML] (\S+) (\S+)", path)])


@pytest.mark.parametrize(("log", "values"), [(False, [1.0, 4.0, 2.0]), (True, [0.1, 100.0, 1.0])])
def test_curves_go_through_their_points(tmp_path, log, values):
    rows = [{"step": 10 * i, "loss": value, "other": 1.0} for i, value in enumerate(values)]
    page = written(tmp_path, Curves(rows, names=["loss"], log=log))
    x, y = line(page).T
    expected = np.log10(values) if log else np.array(values)
    np.testing.assert_allclose((x - x[0]) / (x[2] - x[0]), [0, 0.5, 1], atol=1e-5)
    np.testing.assert_allclose(
        (y - y[0]) / (y[1] - y[0]), (expected - expected[0]) / (expected[1] - expected[0]), atol=1e-5
    )
    assert y[1] < y[0]  # upwards is more
    assert page.texts("b") == ["loss"]
    assert page.texts("span") == [f"{values[0]:g} → {values[-1]:g}"]


def test_curves_skip_what_cannot_be_drawn(tmp_path):
    rows = [{"step": 0, "a": 1.0, "b": 0.0}, {"step": 1, "a": float("nan"), "b": 2.0}, {"step": 2, "b": 3.0}]
    page = written(tmp_path, Curves([*rows, {"step": 3, "a": 5.0, "b": 4.0}], log=True))
    assert page.texts("b") == ["a", "b"]
    assert page.texts("span") == ["1 → 5", "2 → 4"]
    with pytest.raises(ValueError, match="no points of c"):
        written(tmp_path, Curves(rows, names=["c"]))


def test_plots_take_the_pages_colours_and_repeat_no_id(tmp_path):
    rows = [{"step": i, "a": 1.0 * i, "b": 1.0 * i} for i in range(5)]
    page = written(tmp_path, Curves(rows))
    assert len(page.all("svg")) == 2
    assert not [e for e in page.elements if "id" in e[1]]
    styles = " ".join(e[1].get("style", "") for e in page.elements)
    assert "var(--accent)" in styles
    assert not re.search(r"#[0-9a-f]{6}", styles)


def test_every_command_can_be_copied(tmp_path):
    page = written(tmp_path, Commands(["# the first", "arf demo --style 'a b.jpg'", "arf view run"]))
    assert page.texts("code") == ["arf demo --style 'a b.jpg'", "arf view run"]
    assert len(page.all("button")) == 2
    assert "the first" in page.texts("p")


@pytest.mark.parametrize("kind", [Picture, Video])
@pytest.mark.parametrize("trouble", ["missing", "folder", "empty", "text"])
def test_a_file_that_cannot_be_shown_is_one_line_and_writes_nothing(tmp_path, kind, trouble):
    file = tmp_path / "file.mp4"
    if trouble == "folder":
        file.mkdir()
    elif trouble != "missing":
        file.write_text("" if trouble == "empty" else "hello, this is no picture")
    target = tmp_path / "out" / "report.html"
    with pytest.raises(UserError) as error:
        write_report(target, "T", "L", [Section("S", parts=[kind(file)])])
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert not target.parent.exists()


def test_a_file_name_that_is_no_utf8_is_written_all_the_same(tmp_path):
    page = written(tmp_path, Picture(noise(2, 2), b"caf\xe9.jpg".decode("utf-8", "surrogateescape")))
    assert page.texts("figcaption") == ["caf?.jpg"]


def test_what_is_no_part_is_refused(tmp_path):
    with pytest.raises(TypeError, match="not str"):
        written(tmp_path, "words")
