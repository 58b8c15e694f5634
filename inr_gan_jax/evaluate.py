r"""Metrics of a checkpoint, by the names of their protocols (docs/metrics.md).

    python -m inr_gan_jax.evaluate --checkpoint=runs/digits --metrics=frechet_digits10k_full
    python -m inr_gan_jax.evaluate --checkpoint=churches.pkl --metrics=fid50k_full,pr50k3_full \
        --data_name=lsun/church_outdoor --inception_weights=inception-2015-12-05.pt --vgg16_weights=vgg16-397923af.pth

Results are printed and appended to metrics.jsonl of the run, or to <file>.metrics.jsonl beside a pickle.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import define_truncation_flags
from inr_gan_jax.config.schema import DataConfig
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import MAX_SEED, Truncation
from inr_gan_jax.metrics.networks.options import LPIPS_HEADS, WEIGHTS_OPTIONS
from inr_gan_jax.metrics.protocols import EXAMPLES, PIXEL_FD, Protocol, parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.settings import DEFAULT_CACHE, MetricResult, MetricSettings

if TYPE_CHECKING:
    from inr_gan_jax.data.read.dataset import Dataset
    from inr_gan_jax.inference.loading import LoadedGenerator

_OPTIONS = (*WEIGHTS_OPTIONS.values(), LPIPS_HEADS)
# Key of the section `data` -> flag.
_DATA_FLAGS = {"name": "data_name", "split": "data_split", "data_dir": "data_dir"}


@dataclasses.dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        checkpoint: run folder, or official network pickle.
        metrics: names of protocols.
        settings: weights, batch size, cache.
        truncation: of sampled images.
        seed: of the latent codes.
        data: keys of the section `data` that differ from those of the run.
        output: file to append to; None: metrics.jsonl of the run, or a file of that ending beside a pickle.
    """

    checkpoint: Path
    metrics: Sequence[str]
    settings: MetricSettings
    truncation: Truncation = dataclasses.field(default_factory=Truncation)
    seed: int = 0
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    output: Path | None = None


def evaluate(request: Request) -> Iterator[MetricResult]:
    """Computes metrics of a checkpoint and appends each to the output as soon as it is ready.

    Raises:
        UserError: one sentence, before an image is drawn, for whatever is missing or does not fit; and when the
            generator's images are not finite.
    """
    import jax

    from inr_gan_jax.data.read.dataset import open_dataset
    from inr_gan_jax.data.read.images import read_labels
    from inr_gan_jax.inference.loading import load_generator
    from inr_gan_jax.inference.metric_callables import generated_by
    from inr_gan_jax.metrics.devices import batch_devices
    from inr_gan_jax.metrics.registry import MetricSuite

    protocols = [parse_protocol(name) for name in request.metrics]
    loaded = load_generator(request.checkpoint)
    if loaded.config is None:
        raise UserError(
            f"{request.checkpoint} does not say what it was trained on; evaluate the run folder or the official pickle"
        )
    if loaded.config.compilation_cache_dir:
        cache = str(Path(loaded.config.compilation_cache_dir).expanduser())
        jax.config.update("jax_compilation_cache_dir", cache)
    output = request.output or output_path(request.checkpoint)
    if not output.absolute().parent.is_dir():
        raise UserError(f"{output} cannot be written (no folder {output.parent})")
    config = dataclasses.replace(loaded.config.data, **request.data)
    dataset = open_dataset(config) if _needs_data(protocols, loaded) else None
    others = [protocol for protocol in protocols if protocol.kind != "pixel_frechet"]
    suite = MetricSuite(others, real_images(dataset, config) if dataset else None, request.settings)
    if len(others) < len(protocols) and request.truncation.psi != 1:
        raise UserError(f"{PIXEL_FD} is measured without truncation, but truncation_psi is {request.truncation.psi:g}")
    labels = read_labels(dataset) if dataset is not None and loaded.generator.c_dim else None
    devices = batch_devices(request.settings.num_devices)
    generated = generated_by(loaded, devices, request.truncation, labels)
    try:
        by_pixels = [_pixel_distance(request, loaded, dataset)] if dataset and len(others) < len(protocols) else []
        for result in itertools.chain(by_pixels, suite.each(generated, request.seed)):
            append_line(output, jsonl_line(result, loaded))
            yield result
    except FloatingPointError as error:
        raise UserError(f"{request.checkpoint} cannot be evaluated: {error}") from error


def _pixel_distance(request: Request, loaded: LoadedGenerator, dataset: Dataset) -> MetricResult:
    """pixel_fd as training measures it: of the images that it draws, by the seed and the batch size of the run."""
    from inr_gan_jax.training.evaluation import Evaluation
    from inr_gan_jax.training.hooks import Sampler

    assert loaded.config is not None, "checked by the caller"
    seed = request.seed or loaded.config.seed
    settings = dataclasses.replace(loaded.config.evaluation, metric=PIXEL_FD)
    data = dataclasses.replace(loaded.config.data, **request.data)
    config = dataclasses.replace(loaded.config, seed=seed, evaluation=settings, data=data)
    started = time.perf_counter()
    evaluation = Evaluation(config, dataset, Sampler(loaded.generator, config))
    values = {name.removeprefix("metric/"): value for name, value in evaluation(loaded.variables).items()}
    protocol = dataclasses.replace(parse_protocol(PIXEL_FD), num_generated=settings.num_samples)
    record = {"protocol": protocol.record(), "seed": seed, "batch_size": settings.batch_size, "truncation_psi": 1.0}
    record |= {"real": {"name": f"{data.name}, {data.split}", "count": len(dataset)}, "kimg": loaded.kimg}
    record["seconds"] = time.perf_counter() - started
    assert evaluation.floors is not None, "of every distance by pixels"
    return MetricResult(protocol, values, dataclasses.asdict(evaluation.floors), record)


def real_images(dataset: Dataset, config: DataConfig) -> RealImages:
    """A prepared split as the metrics see it, at the size of the run."""
    from inr_gan_jax.data.read.images import read_images

    def read(indices: np.ndarray) -> np.ndarray:
        return read_images(dataset, config, indices)

    return RealImages(f"{config.name}, {config.split}", len(dataset), read)


def report_lines(result: MetricResult) -> list[str]:
    """A line a number, the first with the floors that it stands beside."""
    lines = [f"{name:<28} {value:.6f}" for name, value in result.values.items()]
    if result.floors:
        floors = ", ".join(f"{value:.6f} {name}" for name, value in result.floors.items())
        lines[0] += f"  (real against real: {floors})"
    return lines


def jsonl_line(result: MetricResult, loaded: LoadedGenerator) -> dict[str, Any]:
    """A line of metrics.jsonl. Numbers of truncated images have the truncation in their names."""
    psi = result.record["truncation_psi"]
    suffix = "" if psi == 1 or result.protocol.kind == "path_length" else f"_psi{psi:g}"
    values = {f"evaluation/{name}{suffix}": value for name, value in result.values.items() if math.isfinite(value)}
    assert loaded.config is not None, "refused before anything was drawn"
    step = round(loaded.kimg * 1000 / loaded.config.training.batch_size)
    return {"step": step, "kimg": loaded.kimg, "unix_time": time.time(), **values, "record": dict(result.record)}


def output_path(checkpoint: Path) -> Path:
    """Where results are appended when no other file is named."""
    return checkpoint.with_suffix(".metrics.jsonl") if checkpoint.is_file() else checkpoint / "metrics.jsonl"


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Appends a line to a file.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error


def _needs_data(protocols: Sequence[Protocol], loaded: LoadedGenerator) -> bool:
    kinds = {protocol.kind for protocol in protocols}
    return bool(kinds - {"path_length", "inception_score"}) or loaded.generator.c_dim > 0


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS.flag_values_dict()
    names = {option.flag: option.flag.removesuffix("_weights") for option in _OPTIONS}
    settings = MetricSettings(
        weights={name: values[flag] for flag, name in names.items() if values[flag]},
        batch_size=values["batch_size"],
        num_devices=values["num_devices"],
        cache_dir=Path(values["metrics_cache_dir"]) if values["metrics_cache_dir"] else None,
        path_precision=values["path_precision"],
    )
    request = Request(
        checkpoint=Path(values["checkpoint"]).expanduser(),
        metrics=[name.strip() for name in values["metrics"]],
        settings=settings,
        truncation=Truncation(values["truncation_psi"], values["truncation_cutoff"]),
        seed=values["seed"],
        data={key: values[flag] for key, flag in _DATA_FLAGS.items() if values[flag]},
        output=Path(values["output"]).expanduser() if values["output"] else None,
    )
    for result in evaluate(request):
        print("\n".join(report_lines(result)), flush=True)
    print(f"appended to {request.output or output_path(request.checkpoint)}")


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("checkpoint", None, "Run folder, or an official network pickle.", required=True)
    flags.DEFINE_alias("workdir", "checkpoint")
    flags.DEFINE_list("metrics", None, f"Names of protocols, such as {', '.join(EXAMPLES)}.", required=True)
    define_truncation_flags()
    define_integer("seed", 0, "Seed of the latent codes.", 0, MAX_SEED)
    define_integer("batch_size", 64, "Images at a time over all devices.", 1, 2**20)
    define_integer("num_devices", 0, "Devices that share a batch; 0: all.", 0, 2**20)
    flags.DEFINE_string("data_name", None, "Real images; the set of the run by default.")
    flags.DEFINE_string("data_split", None, "Split of the real images; that of the run by default.")
    flags.DEFINE_string("data_dir", None, "Where prepared sets lie; as in the run by default.")
    flags.DEFINE_string("metrics_cache_dir", DEFAULT_CACHE, "Where statistics of real images are kept; '': nowhere.")
    flags.DEFINE_string("output", None, "File to append to; metrics.jsonl of the run by default.")
    flags.DEFINE_enum("path_precision", "float32", ["float32", "float64"], "Of path lengths.")
    for option in _OPTIONS:
        flags.DEFINE_string(option.flag, None, f"File of weights; ${option.variable} by default.")


if __name__ == "__main__":
    define_flags()
    run(main)
