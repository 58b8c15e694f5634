"""The page holds all that it needs, from a place that is known, and can be used without seeing it."""

import hashlib
import html.parser
import json
import re
import tomllib
from pathlib import Path

import pytest

from inr_gan_jax.viewer.server import read_static_files

VIEWER = Path(__file__).resolve().parents[2] / "inr_gan_jax" / "viewer"
FILES = read_static_files()
OWN = [name for name in FILES if not name.startswith("openseadragon")]
# Of build/openseadragon/openseadragon.min.js in the package that package-lock.json pins.
OPENSEADRAGON_SHA256 = "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad"


class Page(html.parser.HTMLParser):
    """Tags of the page with their attributes, and the text of buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(FILES["index.html"].decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def having(self, attribute: str) -> set[str]:
        return {str(attributes[attribute]) for _, attributes in self.tags if attribute in attributes}


def test_openseadragon_is_the_one_of_the_lock_file() -> None:
    lock = json.loads((VIEWER / "package-lock.json").read_text())["packages"]["node_modules/openseadragon"]
    assert json.loads((VIEWER / "package.json").read_text())["dependencies"] == {"openseadragon": lock["version"]}
    assert lock["license"] == "BSD-3-Clause"
    assert FILES["openseadragon.min.js"].startswith(f"//! openseadragon {lock['version']}\n".encode())
    assert hashlib.sha256(FILES["openseadragon.min.js"]).hexdigest() == OPENSEADRAGON_SHA256
    assert b"Redistribution and use in source and binary forms" in FILES["openseadragon.LICENSE.txt"]


@pytest.mark.parametrize("name", OWN)
def test_nothing_comes_from_other_hosts(name: str) -> None:
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", FILES[name].decode())
    assert set(addresses) <= {"http://www.w3.org"}


def test_all_that_the_page_names_is_there() -> None:
    named = {path.removeprefix("static/") for path in Page().having("src") | Page().having("href")}
    imported = {
        name for file in OWN if file.endswith(".js") for name in re.findall(r'from "\./([^"]+)"', FILES[file].decode())
    }
    assert named | imported <= set(FILES)
    assert {"main.js", "style.css", "openseadragon.min.js"} <= named


def test_scripts_find_their_elements() -> None:
    wanted = {
        name
        for file in OWN
        if file.endswith(".js")
        for name in re.findall(r'element\("([\w-]+)"\)', FILES[file].decode())
    }
    assert len(wanted) > 20
    assert wanted <= Page().having("id")


def test_every_control_has_a_name() -> None:
    page = Page()
    labelled = page.having("for")
    controls = [attributes for tag, attributes in page.tags if tag in ("input", "select", "canvas")]
    assert len(controls) > 10
    for attributes in controls:
        assert attributes["id"] in labelled or "aria-label" in attributes or attributes["id"] == "show-border"


def test_wheel_takes_the_page() -> None:
    settings = tomllib.loads((VIEWER.parents[1] / "pyproject.toml").read_text())
    assert settings["tool"]["setuptools"]["package-data"]["inr_gan_jax.viewer"] == ["static/*"]
    assert all(path.is_file() for path in (VIEWER / "static").iterdir())
