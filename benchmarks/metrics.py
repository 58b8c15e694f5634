"""Seconds and peak memory of the metrics, each measured in a process of its own.

    python -m benchmarks.metrics --output=result.json                      # 50,000 x 2,048 random features
    python -m benchmarks.metrics --count=5000 --parts=kid50k_full

Parts: `frechet`, `kid50k_full` (100 subsets of 1,000), `pr50k3_full`, `features_inception` and
`features_squeezenet` (random weights, a compiled batch).
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

NUM_FEATURES = 2048
BATCH = 16


def random_features(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of `count` vectors, float32, non-negative like features after a ReLU."""
    rng = np.random.default_rng(0)
    first, second = (np.abs(rng.standard_normal((count, NUM_FEATURES), np.float32)) for _ in range(2))
    return first, second


def measure_frechet(options: argparse.Namespace) -> dict[str, float]:
    """Moments of both sets in batches, and their distance."""
    from inr_gan_jax.metrics.frechet import Moments, frechet_distance

    stats = []
    for features in random_features(options.count):
        moments = Moments(NUM_FEATURES)
        for start in range(0, len(features), 64):
            moments.add(features[start : start + 64])
        stats.append(moments.stats())
    start = time.perf_counter()
    value = frechet_distance(*stats)
    return {"value": value, "seconds_distance": time.perf_counter() - start}


def measure_kid(options: argparse.Namespace) -> dict[str, float]:
    """The protocol kid50k_full."""
    from inr_gan_jax.metrics.kid import subset_kernel_distance

    rng = np.random.RandomState(2020)
    return {"value": subset_kernel_distance(*random_features(options.count), rng).mean}


def measure_precision_recall(options: argparse.Namespace) -> dict[str, float]:
    """The protocol pr50k3_full."""
    from inr_gan_jax.metrics.precision_recall import precision_recall

    shares = precision_recall(*random_features(options.count), num_neighbours=3)
    return {"precision": shares.precision, "recall": shares.recall}


def measure_features(params: Any, compute: Callable[..., Any], side: int) -> dict[str, float]:
    """Seconds per image of a compiled batch, the best of three."""
    import jax

    program = jax.jit(compute)
    images = np.random.default_rng(0).uniform(0, 255, (BATCH, side, side, 3)).astype(np.float32)
    params = jax.device_put(params)
    started = time.perf_counter()
    jax.block_until_ready(program(params, images))
    first, seconds = time.perf_counter() - started, []
    for _ in range(3):
        started = time.perf_counter()
        jax.block_until_ready(program(params, images))
        seconds.append(time.perf_counter() - started)
    return {"seconds_compiling": first - min(seconds), "seconds_an_image": min(seconds) / BATCH}


def measure_inception(options: argparse.Namespace) -> dict[str, float]:
    """Inception on pictures of 256x256, random weights."""
    from inr_gan_jax.metrics.networks.inception import inception_features, inception_params
    from inr_gan_jax.metrics.networks.inception_weights import torch_shapes

    del options
    rng = np.random.default_rng(0)
    arrays = {name: rng.random(shape, np.float32) / 100 + 0.01 for name, shape in torch_shapes().items()}
    return measure_features(inception_params(arrays), lambda p, x: inception_features(p, x)["2048"], 256)


def measure_squeezenet(options: argparse.Namespace) -> dict[str, float]:
    """SqueezeNet on resized pictures, random weights."""
    from inr_gan_jax.metrics.networks.squeezenet import squeezenet_features, squeezenet_shapes
    from inr_gan_jax.metrics.networks.weight_files import channels_last

    del options
    rng = np.random.default_rng(0)
    kinds = {"w": "weight", "b": "bias"}
    arrays = {
        f"{name[:-2]}.{kinds[name[-1]]}": rng.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in squeezenet_shapes().items()
    }
    return measure_features(channels_last(arrays), lambda p, x: squeezenet_features(p, x)["fire9"], 227)


PARTS: Mapping[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "frechet": measure_frechet,
    "kid50k_full": measure_kid,
    "pr50k3_full": measure_precision_recall,
    "features_inception": measure_inception,
    "features_squeezenet": measure_squeezenet,
}


def measured(part: str, options: argparse.Namespace) -> dict[str, float]:
    """Runs a part in this process."""
    started = time.perf_counter()
    numbers = PARTS[part](options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**numbers, "seconds": time.perf_counter() - started, "peak_bytes": peak}


def main() -> None:
    """Measures each part in its own process, prints and stores the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which, separated by commas")
    parser.add_argument("--count", type=int, default=50_000, help="feature vectors of each set")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to write")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measured(options.only, options)))
        return
    results = {}
    for part in options.parts.split(","):
        command = [sys.executable, "-m", "benchmarks.metrics", *sys.argv[1:], f"--only={part}"]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        results[part] = json.loads(text.splitlines()[-1])
        print(part, results[part], flush=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    if options.output:
        record = {"machine": machine, "count": options.count, "results": results}
        options.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
