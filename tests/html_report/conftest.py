import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

#: Opens a page from the disk: so many pixels wide, light or dark.
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def _browser() -> Iterator[Browser]:
    there = shutil.which("chromium")
    if there is None:
        why = "no chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=there, args=_FLAGS, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture
def look(_browser: Browser) -> Iterator[Open]:
    pages: list[Page] = []

    def opened(path: Path, width: int = 1280, scheme: str = "light") -> Page:
        page = _browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        pages.append(page)
        page.goto(path.as_uri())
        return page

    yield opened
    for page in pages:
        page.close()
