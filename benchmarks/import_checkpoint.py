"""Time and memory of `read_official_checkpoint` against numpy.load on the same arrays.

    python -m benchmarks.import_checkpoint --megabytes=300 --output=result.json

Each reader runs in its own process, so that the peak of one does not hide that of another. The .npz holds the same
arrays one by one, the .npy the same bytes as a single array. Reading the .pkl includes its SHA-256.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from inr_gan_jax.importers import safe_pickle
from tests.importers import official_format

LAYERS_A_NETWORK = 100


def write_files(folder: pathlib.Path, megabytes: int) -> None:
    """Writes network.pkl and the same arrays as network.npz and, in one block, network.npy."""
    random = np.random.default_rng(0)
    rows = megabytes * 2**20 // (3 * LAYERS_A_NETWORK * 512 * 4)
    networks, flat = {}, {}
    for network in ("G", "D", "G_ema"):
        names = [f"layer{index}.weight" for index in range(LAYERS_A_NETWORK)]
        arrays = {name: random.standard_normal((rows, 512), np.float32) for name in names}
        networks[network] = official_format.network(network, arrays, names, {"z_dim": 512})
        flat |= {f"{network}/{name}": array for name, array in arrays.items()}
    official_format.write_official_checkpoint(folder / "network.pkl", official_format.official_checkpoint(networks))
    np.savez(folder / "network.npz", **flat)
    np.save(folder / "network.npy", np.concatenate(list(flat.values())))


def read(path: pathlib.Path) -> int:
    """Reads one of the files; returns the number of bytes in its arrays."""
    if path.suffix == ".pkl":
        checkpoint = safe_pickle.read_official_checkpoint(path)
        return sum(array.nbytes for network in checkpoint.networks.values() for array in network.arrays.values())
    if path.suffix == ".npy":
        return np.load(path).nbytes
    with np.load(path) as archive:
        arrays = [archive[name] for name in archive.files]
    return sum(array.nbytes for array in arrays)


def measure(path: pathlib.Path, repeats: int) -> dict[str, float]:
    """Median seconds and peak memory, bytes, of reading `path` in this process."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        size = read(path)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": statistics.median(seconds), "peak_bytes": peak, "array_bytes": size}


def in_own_process(*arguments: str) -> str:
    """Runs this module with other arguments: the peak of a process includes what its parent held when it started."""
    command = [sys.executable, "-m", "benchmarks.import_checkpoint", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Writes the files, measures each reader in a process of its own, and prints or stores the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300, help="size of the checkpoint")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the median counts")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to write")
    parser.add_argument("--write", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_files(options.write, options.megabytes)
        return
    if options.measure:
        print(json.dumps(measure(options.measure, options.repeats)))
        return
    with tempfile.TemporaryDirectory() as folder:
        in_own_process(f"--write={folder}", f"--megabytes={options.megabytes}")
        result = {}
        for suffix in ("pkl", "npz", "npy"):
            text = in_own_process(f"--measure={folder}/network.{suffix}", f"--repeats={options.repeats}")
            result[suffix] = json.loads(text)
    result["time_ratio_npz"] = result["pkl"]["seconds"] / result["npz"]["seconds"]
    result["time_ratio_npy"] = result["pkl"]["seconds"] / result["npy"]["seconds"]
    text = json.dumps(result, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
