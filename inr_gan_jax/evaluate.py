r"""Metrics of a checkpoint, by the names of their protocols (docs/metrics.md).

    python -m inr_gan_jax.evaluate --checkpoint=runs/digits --metrics=frechet_digits10k_full
    python -m inr_gan_jax.evaluate --checkpoint=churches.pkl --metrics=fid50k_full,pr50k3_full \
        --data_name=lsun/church_outdoor --inception_weights=inception-2015-12-05.pt --vgg16_weights=vgg16-397923af.pth

Results are printed and appended to metrics.jsonl of the run, or to <file>.metrics.jsonl beside a pickle.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import chosen_truncation, define_truncation_flags
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import MAX_SEED
from inr_gan_jax.metrics.networks.options import LPIPS_HEADS, WEIGHTS_OPTIONS
from inr_gan_jax.metrics.protocols import EXAMPLES, Protocol, parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.settings import DEFAULT_CACHE, Generated, MetricResult, MetricSettings

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.sampling import Sampler, Truncation

_OPTIONS = (*WEIGHTS_OPTIONS.values(), LPIPS_HEADS)
# Key of the section `data` -> flag.
_DATA_FLAGS = {"name": "data_name", "split": "data_split", "data_dir": "data_dir"}


@dataclasses.dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        checkpoint: run folder, or official network pickle.
        metrics: names of protocols.
        settings: weights, devices, cache; `batch_size` below replaces its batch size.
        batch_size: images at a time over all devices; None for that of the run, which gives its values to the bit.
        truncation: of sampled images; None for none.
        seed: of the images; None for that of the run.
        data: keys of the section `data` that differ from those of the run.
        output: file to append to; None: metrics.jsonl of the run, or a file of that ending beside a pickle.
    """

    checkpoint: Path
    metrics: Sequence[str]
    settings: MetricSettings
    batch_size: int | None = None
    truncation: Truncation | None = None
    seed: int | None = None
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
    from inr_gan_jax.data.read.images import read_images, read_labels
    from inr_gan_jax.inference.loading import load_generator
    from inr_gan_jax.metrics.devices import batch_devices
    from inr_gan_jax.metrics.registry import MetricSuite
    from inr_gan_jax.sampling import Sampler, Truncation

    for name in request.metrics:
        parse_protocol(name)
    loaded = load_generator(request.checkpoint)
    if loaded.config is None:
        raise UserError(
            f"{request.checkpoint} does not say what it was trained on; evaluate the run folder or the official pickle"
        )
    run = loaded.config
    protocols = [parse_protocol(name, run.evaluation.num_samples) for name in request.metrics]
    if run.compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(Path(run.compilation_cache_dir).expanduser()))
    output = request.output or output_path(request.checkpoint)
    if not output.absolute().parent.is_dir():
        raise UserError(f"{output} cannot be written (no folder {output.parent})")
    settings = dataclasses.replace(request.settings, batch_size=request.batch_size or run.evaluation.batch_size)
    config = dataclasses.replace(run.data, **request.data)
    dataset = open_dataset(config) if _needs_data(protocols, loaded) else None
    real = None
    if dataset is not None:
        read = functools.partial(read_images, dataset, config)
        real = RealImages(f"{config.name}, {config.split}", len(dataset), read)
    suite = MetricSuite(protocols, real, settings)
    sampler = Sampler(
        loaded.generator,
        loaded.variables,
        loaded.w_avg,
        request.truncation or Truncation(),
        batch_devices(settings.num_devices).mesh,
        settings.batch_size,
        read_labels(dataset) if dataset is not None and loaded.generator.c_dim else None,
        loaded.source,
    )
    seed = run.seed if request.seed is None else request.seed
    try:
        for result in suite.each(generated_by(sampler, loaded.kimg), seed):
            append_line(output, jsonl_line(result, loaded))
            yield result
    except FloatingPointError as error:
        raise UserError(f"{request.checkpoint} cannot be evaluated: {error}") from error


def generated_by(sampler: Sampler, kimg: float) -> Generated:
    """A sampler as the metrics see it; path lengths are measured without truncation.

    Args:
        sampler: of the generator.
        kimg: thousands of real images that it was trained on, for the record.
    """
    from inr_gan_jax.metrics.ppl import PathGenerator

    generator, truncation = sampler.generator, sampler.truncation
    paths = PathGenerator(
        z_dim=generator.z_dim,
        variables=sampler.variables,
        mapping=generator.batch_mapping,
        synthesise=generator.batch_synthesis,
        sample_labels=sampler.labels,
    )
    record = {"truncation_psi": truncation.psi, "truncation_cutoff": truncation.cutoff, "kimg": kimg}
    return Generated(sampler.batches, paths, record)


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
    assert loaded.config is not None, "refused before anything is sampled"
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
        num_devices=values["num_devices"],
        cache_dir=Path(values["metrics_cache_dir"]) if values["metrics_cache_dir"] else None,
        path_precision=values["path_precision"],
    )
    request = Request(
        checkpoint=Path(values["checkpoint"]).expanduser(),
        metrics=[name.strip() for name in values["metrics"]],
        settings=settings,
        batch_size=values["batch_size"],
        truncation=chosen_truncation(),
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
    define_integer("seed", None, "Seed of the images; that of the run by default.", 0, MAX_SEED)
    define_integer("batch_size", None, "Images at a time over all devices; as in the run by default.", 1, 2**20)
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
