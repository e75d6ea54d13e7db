"""One browser for all pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, chromium
from pages import HEIGHT, WIDTH, write_some


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="session")
def file(folder) -> Path:
    """Three paints."""
    write_some(folder / "some.html")
    return folder / "some.html"


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser, folder) -> Iterator[Page]:
    """A tab of the cameras' size; afterwards nothing must have gone wrong, and nothing been asked for."""
    browser.size(WIDTH, HEIGHT)
    browser.errors.clear()
    browser.requests.clear()
    yield browser
    assert browser.errors == []
    assert not [url for url in browser.requests if not url.startswith((f"{folder.as_uri()}/", "data:", "blob:"))]
