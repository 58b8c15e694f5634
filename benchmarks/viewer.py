"""The viewer under load: seconds to the first view, time of a tile with several viewers, memory over time.

    python -m benchmarks.viewer --checkpoint=runs/digits --output=benchmarks/results/viewer.json

A viewer here is a client that asks as the page does: a screen of 1024 x 768 pixels, coarse tiles two levels below
first, as many requests at once as the page makes. It pans by a tile (3 times in 4), zooms by 2 or takes another seed,
each time waits until its screen is complete, and looks at it for 1 to 3 seconds. All come at once, and no two look at
the same image, so that nothing is rendered for two of them. The first view is measured in Chromium where Playwright and
Chromium are there.
"""

import argparse
import concurrent.futures
import http.client
import importlib.util
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from typing import Any

import numpy as np
import psutil

SCREEN = (1024, 768)
TILE = 256
COARSER = 2


class Viewer:
    """A simulated user.

    Args:
        address: of the server.
        number: of the viewer.
        parallel: requests at once.
    """

    def __init__(self, address: str, number: int, parallel: int) -> None:
        self.times: list[float] = []
        self.views: list[float] = []
        self.statuses: dict[int, int] = {}
        self._host = urllib.parse.urlsplit(address).netloc
        self._rng = random.Random(number)
        self._pool = concurrent.futures.ThreadPoolExecutor(parallel)
        self._local = threading.local()
        self._has: set[str] = set()
        self._seed, self._level, self._x, self._y = number * 10**6, 1, 0.5, 0.5

    def look(self, until: float) -> None:
        """Navigates until a time of `time.perf_counter`."""
        self._see()
        while time.perf_counter() < until:
            time.sleep(self._rng.uniform(1, 3))
            gesture = self._rng.choice(["right", "left", "down", "up", "right", "down", "zoom", "seed"])
            tile = 2.0**-self._level
            if gesture == "seed":
                self._seed += 1
            elif gesture == "zoom":
                self._level = min(8, max(-1, self._level + self._rng.choice([-1, 1])))
            else:
                self._x += {"right": tile, "left": -tile}.get(gesture, 0.0)
                self._y += {"down": tile, "up": -tile}.get(gesture, 0.0)
            self._see()

    def _see(self) -> None:
        started = time.perf_counter()
        for level in (self._level - COARSER, self._level):
            list(self._pool.map(self._fetch, self._missing(level)))
        self.views.append(time.perf_counter() - started)

    def _missing(self, level: int) -> list[str]:
        """Tiles of a level on the screen that this viewer has not yet."""
        extent, half = 2.0**-level, [side / 2 / TILE * 2.0**-self._level for side in SCREEN]
        columns = range(int((self._x - half[0]) // extent), int((self._x + half[0]) // extent) + 1)
        rows = range(int((self._y - half[1]) // extent), int((self._y + half[1]) // extent) + 1)
        paths = [f"/tile/inr/{level}/{column}/{row}.png?seed={self._seed}" for row in rows for column in columns]
        missing = [path for path in paths if path not in self._has]
        self._has.update(missing)
        return missing

    def _fetch(self, path: str) -> None:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._host, timeout=60)
        started = time.perf_counter()
        self._local.connection.request("GET", path)
        answer = self._local.connection.getresponse()
        answer.read()
        self.times.append(time.perf_counter() - started)
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1


def start(arguments: argparse.Namespace) -> tuple[subprocess.Popen[str], str, float]:
    """Starts the command; returns the process, its address, and the seconds until that was printed."""
    command = [sys.executable, "-m", "inr_gan_jax.viewer", f"--checkpoint={arguments.checkpoint}", "--port=0"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None, "a pipe was asked for"
    for line in process.stdout:
        found = re.search(r"http://\S+", line)
        if found:
            return process, found[0], time.perf_counter() - started
    raise SystemExit("the viewer ended before it printed its address")


def first_view_seconds(address: str) -> dict[str, float] | None:
    """Seconds from opening the page in Chromium to its first tile, to a screen covered coarsely, and to a sharp one.

    None without Chromium.
    """
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        return None
    with importlib.import_module("playwright.sync_api").sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto("about:blank")
        # Chromium keeps starting up for a while.
        time.sleep(2)
        started, found = time.perf_counter(), {}
        page.goto(f"{address}#seed=77")
        for name, state in {
            "first_tile": "viewerStage?.drawn.inr[0]?.source.loaded > 0",
            "covered": "viewerStage?.drawn.inr[0]?.source.loaded > 0 && !viewerStage.drawn.inr[0].source.isCoarse()",
            "complete": "viewerStage?.drawn.inr[0]?.item?.getFullyLoaded()",
        }.items():
            # Asking more often would take the time of the page.
            page.wait_for_function(f"() => Boolean(window.{state})", polling=50)
            found[name] = round(time.perf_counter() - started, 2)
        browser.close()
    return found


def watch(process: subprocess.Popen[str], until: float) -> list[float]:
    """Resident memory of the server in MB, second by second."""
    values = []
    while time.perf_counter() < until:
        values.append(psutil.Process(process.pid).memory_info().rss / 1e6)
        time.sleep(1)
    return values


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--viewers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    process, address, start_seconds = start(arguments)
    try:
        first_view = first_view_seconds(address)
        with urllib.request.urlopen(f"{address}info.json") as answer:
            parallel = json.load(answer)["parallel"]
        until = time.perf_counter() + arguments.seconds
        viewers = [Viewer(address, number + 1, parallel) for number in range(arguments.viewers)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            looking = [pool.submit(viewer.look, until) for viewer in viewers]
            memory = watch(process, until)
            for each in looking:
                each.result()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    result = {
        # The load of all that ran, the viewer among it; above the number of cores something waited.
        "machine": {"cores": os.cpu_count(), "load_before": load_before, "load_after": os.getloadavg()[0]},
        "start_seconds": round(start_seconds, 1),
        "first_view_seconds": first_view,
        "load": summary(viewers, arguments.seconds, parallel),
        "memory_mb": {"start": round(memory[0]), "middle": round(memory[len(memory) // 2]), "end": round(memory[-1])},
    }
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def summary(viewers: list[Viewer], seconds: float, parallel: int) -> dict[str, Any]:
    """Times over all viewers."""
    times = np.concatenate([viewer.times for viewer in viewers]) * 1000
    views = np.concatenate([viewer.views for viewer in viewers]) * 1000
    statuses: dict[int, int] = {}
    for viewer in viewers:
        for status, count in viewer.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return {
        "viewers": len(viewers),
        "seconds": seconds,
        "requests_at_once_each": parallel,
        "tiles": len(times),
        "tiles_per_second": round(len(times) / seconds, 1),
        "statuses": statuses,
        "tile_ms": {f"p{share}": round(float(np.percentile(times, share))) for share in (50, 90, 95, 99, 100)},
        "screen_complete_ms": {f"p{share}": round(float(np.percentile(views, share))) for share in (50, 95)},
    }


if __name__ == "__main__":
    main()
