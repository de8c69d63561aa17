"""A real Chromium for the tests of pages, and what they measure in it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

expect.set_options(timeout=20_000)  # milliseconds: a busy machine may need all of it

LIGHT_AND_DARK: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
CONTRAST = """() => {
  const rgb = (color) => color.match(/[0-9.]+/g).map(Number);
  const luminance = (color) => {
    const linear = (c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    const [r, g, b] = rgb(color).map((c) => linear(c / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const background = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return rgb(color)[3] === 0 ? background(element.parentElement) : color;
  };
  return [...document.querySelectorAll("body *")]
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((element) => element.checkVisibility() && !["SCRIPT", "title"].includes(element.tagName))
    .map((element) => {
      const style = getComputedStyle(element), color = element.tagName === "text" ? style.fill : style.color;
      const [low, high] = [luminance(color), luminance(background(element))].sort((a, b) => a - b);
      return { text: element.textContent, ratio: (high + .05) / (low + .05) };
    });
}"""
"""The contrast of each piece of visible text with its background, as WCAG 2 computes it."""


def find_chromium() -> str | None:
    """The path of the system's Chromium, or None: then Playwright has one of its own, or there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def running_chromium(*arguments: str) -> Iterator[Browser | None]:
    """Run a headless Chromium with these arguments; None if there is none on this machine."""
    arguments += ("--no-sandbox",) if os.getuid() == 0 else ()
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(arguments))
        except Error as error:
            if find_chromium() or "Executable doesn't exist" not in str(error):
                raise
            yield None
            return
        yield browser
        browser.close()


@contextmanager
def without_problems(page: Page) -> Iterator[None]:
    """Fail at the end of the block if the page reported an error, or something that its policy forbids."""
    page.set_default_timeout(20_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if "Policy" in line.text else None)
    yield
    assert problems == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        if browser is None:
            pytest.skip(
                "no Chromium: install the system's (apt install chromium) or run playwright install chromium"
            )
        yield browser
