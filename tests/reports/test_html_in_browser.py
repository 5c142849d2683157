"""The report in a browser: read by html-validate and axe-core, at a phone's width and a screen's, in light and dark.

Slow, and `make browser` runs it: it needs Chromium, node and three packages of npm, which it installs for itself.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import TESTS, TINY, swdb

pytestmark = pytest.mark.slow

PACKAGES = ("html-validate@^10", "axe-core@^4", "puppeteer-core@^24")
RULES = {"root": True, "extends": ["html-validate:recommended"]}


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> Path:
    """A folder with the packages."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("no npm here")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true}')
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    result = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    if result.returncode:
        pytest.skip(f"npm cannot install here: {' '.join(result.stderr.split())[:200]}")
    return folder


@pytest.fixture(scope="module")
def pages(finished, tmp_path_factory) -> dict[str, Path]:
    """The reports of a finished study and of nothing."""
    folder = tmp_path_factory.mktemp("pages")
    found = {"finished": finished, "nothing": folder / "work"}
    for name, work in found.items():
        result = swdb("report", "--preset", TINY, "--workdir", work, "--output", folder / f"{name}.html")
        assert result.returncode == 0, result.stderr
    return {name: folder / f"{name}.html" for name in found}


@pytest.mark.parametrize("name", ["finished", "nothing"])
def test_html_validate_finds_nothing(modules, pages, name):
    (modules / ".htmlvalidate.json").write_text(json.dumps(RULES))
    command = [
        "npx",
        "--no-install",
        "html-validate",
        "--config",
        ".htmlvalidate.json",
        "--formatter",
        "json",
        pages[name],
    ]
    result = subprocess.run(command, cwd=modules, capture_output=True, text=True, timeout=120, check=False)
    assert json.loads(result.stdout) == [], result.stdout[:2000]


@pytest.mark.parametrize("name", ["finished", "nothing"])
def test_it_can_be_read_on_a_phone_and_a_screen_in_light_and_dark_and_on_paper(modules, pages, name):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here")
    command = ["node", TESTS / "browser.mjs", modules, chromium, pages[name]]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found["pages"]) == 4
    for one in found["pages"]:
        where = f"{one['width']} pixels, {one['scheme']}"
        assert one["violations"] == [], where
        assert one["passes"] > 20 and one["scrolls"] <= 0 and one["said"] == [], where
        assert one["first"] == "skip", where
    assert len({tuple(one["colours"]) for one in found["pages"]}) == 2  # light and dark: drawings, too
    assert found["print"]["opened"] > 0 == found["print"]["closed"] and found["print"]["scrolls"] <= 0
    assert found["reached"] >= found["focusable"] - found["closed"] > 20
