"""Whatever is asked, nothing breaks: wild numbers, broken tokens, slow readers, requests given up."""

import contextlib
import os
import random
import socket
import threading
import urllib.parse
from collections import Counter

import psutil
import pytest

from inr_gan_jax.viewer.access import AccessSettings
from inr_gan_jax.viewer.drawing import Drawing
from tests.viewer.client import ask, serving_drawing

# The 10,000 take minutes.
NUM_REQUESTS = int(os.environ.get("INR_GAN_FUZZ_REQUESTS", "400"))
NUM_CLIENTS = 4
TOKEN = "fuzz"
MOST_GROWTH = 300 * 2**20

WILD = [
    "nan", "inf", "-inf", "1e309", "-1e309", "0x10", "", " ", "1e-320", "-0", "00", "1_0", "9" * 60, "-1", "0", "1",
    "0.5", "4294967295", "4294967296", "999999999999", "None", "null", "%00", "%ff", "٣", "../..", "'", "<script>",
    "[1]", "0-99999", "0-3", "1,,2", "z", "w", "image", "paper", "all", "pointwise", "true",
]  # fmt: skip
KEYS = [
    "seed", "to", "t", "space", "psi", "class", "style", "layers", "rule", "left", "top", "extent", "width", "height",
    "checkpoint", "token", "", "seed ",
]  # fmt: skip
SANE = {"seed": "5", "to": "6", "t": "0.5", "space": "image", "psi": "0.7", "style": "2", "layers": "1", "rule": "all"}


def wild_path(rng: random.Random) -> str:
    kind = rng.choice(["tile", "tile", "tile", "picture", "file", "static", "noise"])
    query = {key: value for key, value in SANE.items() if rng.random() < 0.3}
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        query[rng.choice(KEYS)] = rng.choice(WILD)
    if kind == "picture":
        query |= {"width": str(rng.choice([1, 300, 0, 20000])), "height": str(rng.choice([1, 40, 10**9]))}
    text = "&".join(f"{urllib.parse.quote(key)}={urllib.parse.quote(value, safe='%')}" for key, value in query.items())
    if kind == "noise":
        return urllib.parse.quote("".join(rng.choice(WILD) for _ in range(3)), safe="%/")
    if kind == "static":
        return f"static/{urllib.parse.quote(rng.choice(WILD), safe='%/')}"
    if kind != "tile":
        return {"picture": "picture.png?", "file": "image.inr.safetensors?"}[kind] + text
    level = rng.choice([str(rng.randint(-6, 14)), *WILD[:3]])
    place = [rng.choice([str(rng.randint(-9, 9)), str(rng.randint(-(10**9), 10**9)), rng.choice(WILD)]) for _ in "xy"]
    by = rng.choice(["inr", "inr", "lanczos", "nearest", "oil"])
    return "/".join(urllib.parse.quote(part, safe="%") for part in ("tile", by, level, *place)) + f".png?{text}"


def give_up(url: str, path: str, rng: random.Random) -> None:
    """Sends a request, reads at most a little, and goes away."""
    target = urllib.parse.urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((target.hostname, target.port), timeout=5) as client:
        request = f"GET /{path} HTTP/1.1\r\nHost: {target.netloc}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        client.sendall(request.encode()[: rng.choice([10, 10**6])])
        if rng.random() < 0.5:
            client.settimeout(0.05)
            client.recv(100)


@pytest.mark.slow
def test_fuzzed_requests_never_break_the_server(drawing: Drawing) -> None:
    statuses: Counter[int] = Counter()
    memory: list[int] = []
    access = AccessSettings(token=TOKEN, requests_per_second=1e6, burst=1e6)

    def client(url: str, number: int) -> None:
        rng = random.Random(number)
        for index in range(NUM_REQUESTS // NUM_CLIENTS):
            path = wild_path(rng)
            if rng.random() < 0.15:
                give_up(url, path, rng)
                continue
            token = TOKEN if rng.random() < 0.9 else rng.choice(WILD)
            headers = {"Authorization": f"Bearer {token}".encode().decode("latin-1")}
            answer = ask(url, path, headers)
            statuses[answer.status] += 1
            if answer.status >= 400:
                assert answer.body.count(b"\n") == 1, answer.body
            if number == 0 and index % 20 == 0:
                memory.append(psutil.Process().memory_info().rss)

    with serving_drawing(drawing, access) as url:
        failures: list[BaseException] = []

        def guarded(number: int) -> None:
            try:
                client(url, number)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=(number,)) for number in range(NUM_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert ask(url, "tile/inr/0/0/0.png?seed=1", {"Authorization": f"Bearer {TOKEN}"}).status == 200
    assert set(statuses) <= {200, 303, 400, 401, 404, 503}
    assert {200, 400, 401, 404} <= set(statuses)
    assert drawing.num_waiting == 0
    # Compiled programs and what is kept come in the first half.
    assert max(memory) - memory[len(memory) // 2] < MOST_GROWTH
