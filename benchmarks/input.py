"""Images per second of the input pipeline, compared with a bare loop of the fastest decoder over the same bytes.

    python -m benchmarks.input --source=flowers.zip --output=result.json
    python -m benchmarks.input --source=flowers.zip --memory_batches=20000

Prepares the source at 64 and 256 pixels as PNG and as JPEG. The pipeline reads array_record, decodes, mirrors, builds
batches and moves them to the device; its rate `threads` is that of decoding threads, `workers` that of
worker processes (`config.data.num_workers`), both without the cache of decoded images, and `cached` is with it. Loop
and pipeline take turns, and the ratio is the median over the turns: other work on the machine slows both.
"""

import argparse
import dataclasses
import io
import json
import os
import pathlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import imagecodecs
import jax
import numpy as np
from absl import flags
from PIL import Image

from inr_gan_jax.config.schema import DataConfig
from inr_gan_jax.data.prepare.fit_image import FitSettings, ImageFormat
from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
from inr_gan_jax.data.read.dataset import Dataset, open_dataset
from inr_gan_jax.data.read.pipeline import make_iterator
from inr_gan_jax.data.read.prefetch import DevicePrefetch

BATCH_SIZE = 64
KINDS: tuple[tuple[int, ImageFormat], ...] = ((64, "png"), (64, "jpeg"), (256, "png"), (256, "jpeg"))

Decoder = Callable[[bytes], Any]


def decoders(image_format: ImageFormat) -> dict[str, Decoder]:
    """All available decoders of a format."""
    found: dict[str, Decoder] = {"pillow": lambda data: np.asarray(Image.open(io.BytesIO(data)))}
    if image_format == "png":
        return found | {"libpng": imagecodecs.png_decode, "libspng": imagecodecs.spng_decode}
    return found | {"libjpeg-turbo": imagecodecs.jpeg8_decode}


def rate(work: Callable[[], int]) -> float:
    """Images per second of one call."""
    start = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - start)


def fastest(data: list[bytes], image_format: ImageFormat) -> tuple[str, Decoder]:
    """The decoder that is fastest over some images, by the best of three turns."""
    rates = {
        name: max(rate(lambda decode=decode: sum(1 for item in data if decode(item) is not None)) for _ in range(3))
        for name, decode in decoders(image_format).items()
    }
    name = max(rates, key=lambda name: rates[name])
    return name, decoders(image_format)[name]


def open_prepared(source: str, root: pathlib.Path, size: int, image_format: ImageFormat) -> tuple[Dataset, DataConfig]:
    """Prepares the source at one size and format, and opens it."""
    name = f"{image_format}{size}"
    settings = FitSettings(size, size, image_format=image_format)
    prepare_set(Options(source, root / name, root, settings, num_processes=len(os.sched_getaffinity(0))))
    keys = {"name": name, "data_dir": str(root), "height": size, "width": size, "num_classes": 0, "cache_mib": 0}
    config = DataConfig(**keys)
    return open_dataset(config), config


def batches_on_device(dataset: Dataset, config: DataConfig) -> Iterator[dict[str, Any]]:
    """The whole pipeline, from a fresh start."""
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return DevicePrefetch(make_iterator(dataset, config, BATCH_SIZE, 0), sharding)


def take(iterator: Iterator[dict[str, Any]], num_batches: int) -> int:
    """Waits for some batches; returns the number of images in them."""
    batch: dict[str, Any] = {}
    for _ in range(num_batches):
        batch = next(iterator)
    jax.block_until_ready(batch)
    return num_batches * BATCH_SIZE


def measure(dataset: Dataset, config: DataConfig, image_format: ImageFormat, num_turns: int) -> dict[str, Any]:
    """Rates of loop and pipeline, in turns."""
    # A second or two each.
    num_batches = 4 * (len(dataset) // BATCH_SIZE) if config.height < 128 else 24
    source: Any = dataset.source
    data = [source.encoded(index % len(dataset))[0] for index in range(num_batches * BATCH_SIZE)]
    name, decode = fastest(data[:500], image_format)
    kept = dataclasses.replace(config, cache_mib=2**20)
    cached = batches_on_device(dataset, kept)
    take(cached, len(dataset) // BATCH_SIZE + 1)  # the epoch that fills the cache
    rates: dict[str, list[float]] = {"bare": [], "threads": [], "workers": [], "cached": []}
    decoding = {
        "threads": config,
        "workers": dataclasses.replace(config, num_threads=1, num_workers=config.num_threads),
    }
    for _ in range(num_turns):
        rates["bare"].append(rate(lambda: sum(1 for item in data if decode(item) is not None)))
        for kind, settings in decoding.items():
            pipeline: Any = batches_on_device(dataset, settings)
            # What was begun before the clock starts is not counted.
            take(pipeline, 2 + config.prefetch * max(1, settings.num_workers))
            rates[kind].append(rate(lambda pipeline=pipeline: take(pipeline, num_batches)))
            pipeline.close()
        rates["cached"].append(rate(lambda: take(cached, num_batches)))
    result: dict[str, Any] = {"decoder": name, "num_threads": config.num_threads, "turns": num_turns}
    result |= {f"{kind}_images_per_second": round(statistics.median(values)) for kind, values in rates.items()}
    for kind in ("threads", "workers", "cached"):
        ratios = [value / bare for value, bare in zip(rates[kind], rates["bare"], strict=True)]
        result[f"{kind}_over_bare"] = round(statistics.median(ratios), 3)
        result[f"{kind}_over_bare_range"] = [round(min(ratios), 3), round(max(ratios), 3)]
    return result


def peak_memory(dataset: Dataset, config: DataConfig, num_batches: int) -> dict[str, Any]:
    """Peak memory of this process, MiB, after each tenth of a long run without cache."""
    pipeline = batches_on_device(dataset, config)
    peaks = []
    for _ in range(10):
        take(pipeline, num_batches // 10)
        peaks.append(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1))
    return {"batches": num_batches, "batch_size": BATCH_SIZE, "peak_mib_after_each_tenth": peaks}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rates as Markdown."""
    lines = [
        "| set | decoder | bare loop | threads | of the loop | worker processes | of the loop | cached |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['decoder']} | {row['bare_images_per_second']:,} | "
            f"{row['threads_images_per_second']:,} | {row['threads_over_bare']:.0%} | "
            f"{row['workers_images_per_second']:,} | {row['workers_over_bare']:.0%} | "
            f"{row['cached_images_per_second']:,} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Prepares, measures, and prints or stores the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="folder or zip of images")
    parser.add_argument("--turns", type=int, default=9, help="turns of loop and pipeline")
    num_cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=num_cores, help="threads, or worker processes, of the pipeline")
    parser.add_argument(
        "--memory_batches", type=int, default=0, help="measure peak memory over this many batches instead"
    )
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to write")
    options = parser.parse_args()
    flags.FLAGS(["input"])  # grain's worker processes ask for parsed flags
    machine = {"cores": num_cores, "load_before": os.getloadavg()[0], "source": os.path.basename(options.source)}
    result: dict[str, Any] = {"machine": machine}
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        if options.memory_batches:
            dataset, config = open_prepared(options.source, root, 64, "jpeg")
            result["memory"] = peak_memory(dataset, config, options.memory_batches)
        else:
            result["rates"] = {}
            for size, image_format in KINDS:
                dataset, config = open_prepared(options.source, root, size, image_format)
                config = dataclasses.replace(config, num_threads=options.threads)
                result["rates"][f"{image_format} {size}"] = measure(dataset, config, image_format, options.turns)
            print(table(result["rates"]))
    machine["load_after"] = os.getloadavg()[0]
    text = json.dumps(result, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
