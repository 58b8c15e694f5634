"""Time and peak memory of a large picture drawn in pieces, and equal bytes after a kill.

    python -m benchmarks.tile --checkpoint=runs/digits --side=16384 --output=benchmarks/results/tile.json

The command runs as a process of its own: once at `--side`; and at `--small_side` once whole, and once killed (SIGKILL)
after its first entry in the journal and started again.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any


def draw(arguments: argparse.Namespace, side: int, folder: pathlib.Path, kill_at: int | None = None) -> dict[str, Any]:
    """Runs the command; with `kill_at`, kills it when so many pieces are in the journal.

    Returns:
        The command, its seconds, its peak resident memory in MB, and its exit code.
    """
    command = [sys.executable, "-m", "inr_gan_jax.tools.tile"]
    command += [f"--checkpoint={arguments.checkpoint}", f"--seeds={arguments.seed}", f"--height={side}"]
    started = time.perf_counter()
    process = subprocess.Popen([*command, f"--output={folder}"], stdout=subprocess.DEVNULL)
    while kill_at is not None and process.returncode is None and pieces_done(folder) < kill_at:
        time.sleep(0.2)
    if kill_at is not None:
        process.send_signal(signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "command": " ".join(["python", *command[1:]]),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mb": round(usage.ru_maxrss * 1024 / 1e6),
        "exit_code": process.returncode,
    }


def pieces_done(folder: pathlib.Path) -> int:
    """What the journal of an unfinished picture says."""
    journal = folder / "picture.journal"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return json.loads(lines[-1])["done"] if len(lines) > 1 else 0


def sha256(path: pathlib.Path) -> str:
    """Of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--small_side", type=int, default=6144)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        whole = draw(arguments, arguments.small_side, folder / "whole")
        killed = draw(arguments, arguments.small_side, folder / "killed", kill_at=1)
        done = pieces_done(folder / "killed")
        resumed = draw(arguments, arguments.small_side, folder / "killed")
        pictures = [folder / name / "picture.tif" for name in ("whole", "killed")]
        equal = sha256(pictures[0]) == sha256(pictures[1])
        large = draw(arguments, arguments.side, folder / "large")
        large["picture_bytes"] = (folder / "large" / "picture.tif").stat().st_size
    finally:
        shutil.rmtree(folder)
    result = {
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "large": {"side": arguments.side, **large},
        "killed_and_resumed": {
            "side": arguments.small_side,
            "pieces_done_at_kill": done,
            "equal_bytes": equal,
            "whole": whole,
            "killed": killed,
            "resumed": resumed,
        },
    }
    # Where the checkpoint and the files lay is nobody's business.
    text = json.dumps(result, indent=2).replace(arguments.checkpoint, "runs/digits")
    arguments.output.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
