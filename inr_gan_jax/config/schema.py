"""Every key of a configuration with its default, meaning and allowed range, written once.

Durations are in kimg, thousands of real images shown to the discriminator. Defaults are those of the `paper` model
(arXiv 2011.12026) at 256x256.
"""

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal

from inr_gan_jax.models.discriminator_settings import DiscriminatorSettings
from inr_gan_jax.models.paper.settings import PaperSettings
from inr_gan_jax.models.release.settings import ReleaseSettings
from inr_gan_jax.setting import (
    ABOVE_ONE,
    ABOVE_ZERO,
    BELOW_ONE,
    FRACTION,
    ONE_OR_MORE,
    TWO_OR_MORE,
    ZERO_OR_MORE,
    Range,
    setting,
)

AugmentedPart = Literal["color", "translation", "cutout"]


def ema_half_life(decay: float, batch_size: int) -> float:
    """Half-life in kimg of an average that keeps `decay` of itself at every step."""
    return batch_size * math.log(0.5) / math.log(decay) / 1000


@dataclasses.dataclass(frozen=True)
class ShardingConfig:
    """How a batch and the optimizers' states are spread over devices."""

    spatial: int = setting(1, "devices that share the rows of one image; the others share the batch", ONE_OR_MORE)
    optimizer: bool = setting(False, "each device keeps only a part of the optimizers' states (ZeRO-1)")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The real images."""

    name: str = setting(
        "lsun/church_outdoor", "any tfds name prepared as array_record; `digits` is prepared when it is missing"
    )
    split: str = setting("train", "split of the set")
    data_dir: str = setting("", "folder of the prepared sets; empty: $TFDS_DATA_DIR or ~/tensorflow_datasets")
    height: int = setting(
        256, "pixels; images of another size are centre-cropped to the aspect ratio and resized", ONE_OR_MORE
    )
    width: int = setting(256, "pixels", ONE_OR_MORE)
    channels: int = setting(3, "3: RGB, 1: grey")
    num_classes: int = setting(0, "above 0: train on labels, with this many classes", ZERO_OR_MORE)
    x_flip: bool = setting(True, "mirror each image with probability 1/2")
    num_threads: int = setting(4, "threads that decode ahead", ONE_OR_MORE)
    num_workers: int = setting(
        0, "processes that decode ahead, each with num_threads threads; 0: threads only", ZERO_OR_MORE
    )
    prefetch: int = setting(4, "batches decoded ahead", ONE_OR_MORE)
    cache_mib: int = setting(
        1024,
        "memory for decoded images, in MiB; a set that fits is decoded once and kept (not with num_workers)",
        ZERO_OR_MORE,
    )


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The losses of both networks, and their penalties."""

    adversarial: Literal["logistic", "relativistic", "hinge"] = setting(
        "logistic",
        "logistic: non-saturating; relativistic: pairs of a real and a generated image, as in R3GAN; hinge",
    )
    r1_gamma: float = setting(
        20.0, "r1_gamma / 2 * |gradient of the discriminator|^2 at real images; 0: none", ZERO_OR_MORE
    )
    r2_gamma: float = setting(0.0, "the same at generated images, as in R3GAN; 0: none", ZERO_OR_MORE)
    r1_interval: int = setting(
        1, "steps between penalties; 1: part of the discriminator's step; above 1: a step of their own", ONE_OR_MORE
    )
    pl_weight: float = setting(
        0.0, "of the path-length penalty of the generator, 2 in StyleGAN2; 0: none", ZERO_OR_MORE
    )
    pl_interval: int = setting(
        1,
        "steps between path-length penalties; above 1, rates and betas of the generator are corrected for the "
        "penalty's own steps, as in the official code even without the penalty; 1: no correction",
        ONE_OR_MORE,
    )
    pl_decay: float = setting(0.01, "share of a batch in the running mean of path lengths", FRACTION)
    pl_batch_shrink: int = setting(2, "path lengths are measured on this fraction of a batch", ONE_OR_MORE)
    style_mixing_prob: float = setting(
        0.0, "share of batches whose layers get two latent codes; `release` models only", FRACTION
    )
    perceptual_weight: float = setting(
        0.0,
        "of the VGG16 feature distance between generated and real images in the generator's loss; 0: none",
        ZERO_OR_MORE,
    )
    vgg16_file: str = setting("", "torchvision's VGG16 weights (.pth or .npz), needed for perceptual_weight")

    @property
    def has_penalty(self) -> bool:
        """Whether the discriminator's gradient is penalised, at real or at generated images."""
        return self.r1_gamma > 0 or self.r2_gamma > 0

    @property
    def has_lazy_penalty(self) -> bool:
        """Whether it is, in steps of its own."""
        return self.has_penalty and self.r1_interval > 1


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of the discriminator's input, real and generated alike."""

    kind: Literal["none", "ada", "fixed", "differentiable"] = setting(
        "none", "ada: adaptive strength; fixed: at initial_p; differentiable: the light policy of DiffAugment"
    )
    pipeline: Literal["blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"] = (
        setting("bgc", "of ada and fixed")
    )
    policy: tuple[AugmentedPart, ...] = setting(("color", "translation", "cutout"), "of differentiable")
    initial_p: float = setting(0.0, "initial probability", FRACTION)
    target: float = setting(0.6, "ada: wanted mean sign of the discriminator's outputs on real images", FRACTION)
    interval: int = setting(4, "ada: steps between adjustments", ONE_OR_MORE)
    kimg: float = setting(500.0, "ada: duration in which p can rise from 0 to 1", ABOVE_ZERO)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Adam, with a learning rate for each part of the networks."""

    class_embedding_lr: float = setting(5e-5, "learning rate of the embedding of labels (paper)", ABOVE_ZERO)
    mapping_lr: float = setting(5e-5, "of the layers from a latent code to the intermediate one", ABOVE_ZERO)
    connector_lr: float = setting(
        5e-5, "of the linear layer that emits the parameters of an image's INR (paper)", ABOVE_ZERO
    )
    inr_lr: float = setting(5e-4, "of the INR's shared weights, and of the rest of the generator", ABOVE_ZERO)
    discriminator_lr: float = setting(3e-3, "of the discriminator", ABOVE_ZERO)
    beta1: float = setting(0.0, "decay of the mean of gradients", BELOW_ONE)
    beta2: float = setting(0.98, "decay of the mean of squared gradients", BELOW_ONE)
    epsilon: float = setting(1e-8, "added to the root of the mean of squared gradients", ABOVE_ZERO)
    decay_kimg: float = setting(0.0, "end of the cosine decay of the learning rates; 0: constant", ZERO_OR_MORE)
    final_lr_fraction: float = setting(1.0, "of each learning rate, after the decay", ZERO_OR_MORE)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """A training step, and what a run does every so many kimg."""

    batch_size: int = setting(16, "of the whole run, over all devices", ONE_OR_MORE)
    total_kimg: float = setting(25000.0, "when to stop", ABOVE_ZERO)
    ema_kimg: float = setting(
        ema_half_life(0.999, 16), "half-life of the averaged generator, which samples come from", ABOVE_ZERO
    )
    ema_rampup: float = setting(
        0.0, "half-life at most this share of the images shown so far; 0: no ramp-up", ZERO_OR_MORE
    )
    log_kimg: float = setting(4.0, "between two lines of numbers", ABOVE_ZERO)
    sample_kimg: float = setting(100.0, "between two sample grids; 0: none", ZERO_OR_MORE)
    sample_grid: tuple[int, int] = setting((4, 8), "rows and columns of a sample grid")
    evaluate_kimg: float = setting(0.0, "between two evaluations; 0: none", ZERO_OR_MORE)
    checkpoint_kimg: float = setting(100.0, "between two checkpoints; a killed run loses at most this much", ABOVE_ZERO)
    keep_checkpoints: int = setting(
        3, "newest checkpoints to keep; the best by the metric is kept as well", ONE_OR_MORE
    )
    keep_every_kimg: float = setting(0.0, "between checkpoints that are never removed; 0: none", ZERO_OR_MORE)
    num_microbatches: int = setting(
        1, "parts of a batch that are computed one after the other, when it does not fit into memory", ONE_OR_MORE
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "of wide layers in training; docs/training.md says which"
    )
    remat: bool = setting(False, "compute the blocks again in the backward pass: less memory, more time")
    generator_first: bool = setting(False, "update the generator before the discriminator, as the released code does")

    def steps(self, kimg: float) -> int:
        """Turns a duration in kimg into steps; at least 1 for any duration above 0, and 0 for 0."""
        return max(1, round(kimg * 1000 / self.batch_size)) if kimg > 0 else 0

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps(self.total_kimg)


@dataclasses.dataclass(frozen=True)
class GuardConfig:
    """What a run does about collapse, which it looks for whenever numbers are logged or the metric is computed."""

    action: Literal["log", "stop", "roll_back"] = setting(
        "roll_back",
        "roll_back: resume from the last good checkpoint, with other random numbers; a run whose losses are not finite "
        "always stops or rolls back",
    )
    warmup_kimg: float = setting(
        50.0, "no check before this: a generator early in training may look collapsed", ZERO_OR_MORE
    )
    num_ticks: int = setting(3, "numbers must be bad this many times in a row", ONE_OR_MORE)
    max_sign: float = setting(0.999, "mean sign of the discriminator on real images above which it has won", FRACTION)
    min_contrast: float = setting(
        0.02, "least standard deviation across generated images, relative to that across real ones", ZERO_OR_MORE
    )
    metric_factor: float = setting(5.0, "the metric may rise to this many times its best", ABOVE_ONE)
    max_rollbacks: int = setting(2, "after this many, the run stops", ZERO_OR_MORE)
    lr_factor: float = setting(1.0, "of all learning rates, after each time of rolling back", ABOVE_ZERO)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """The metric of a run, and how its images are sampled."""

    metric: str = setting(
        "none",
        "none; pixel_fd: Frechet distance of raw pixels, for small images; or a protocol of docs/metrics.md, such as "
        "fid50k_full, kid50k_full, fsd10k_full",
    )
    num_samples: int = setting(
        10000, "generated images of pixel_fd; the name of a protocol says its own number", TWO_OR_MORE
    )
    weights_file: str = setting("", "weights of the protocol's network; empty: the environment variable that it names")
    cache_dir: str = setting("~/.cache/inr_gan_jax/metrics", "statistics of real images; empty: none")
    batch_size: int = setting(16, "images sampled at a time, for evaluations and sample grids", ONE_OR_MORE)


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str = setting("default", "the run folder is runs/<name> unless --workdir says otherwise")
    seed: int = setting(
        0, "of initial weights, latent codes and the order of the images", Range("0 to 2**32 - 1", 0, 2**32)
    )
    one_cpu_thread: bool = setting(False, "on a CPU, run every operation in one thread: faster for very small networks")
    num_devices: int = setting(0, "accelerators to spread a batch over; 0: all", ZERO_OR_MORE)
    compilation_cache_dir: str = setting(
        "~/.cache/inr_gan_jax/xla", "compiled programs, kept between runs; empty: none"
    )
    model: Literal["paper", "release"] = setting("paper", "the generator, whose settings are the section of this name")
    sharding: ShardingConfig = dataclasses.field(default_factory=ShardingConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    paper: PaperSettings | None = dataclasses.field(default_factory=PaperSettings)
    release: ReleaseSettings | None = dataclasses.field(default_factory=ReleaseSettings)
    discriminator: DiscriminatorSettings = dataclasses.field(default_factory=DiscriminatorSettings)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    guard: GuardConfig = dataclasses.field(default_factory=GuardConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)

    def overrides(self, without: typing.Collection[str] = ()) -> dict[str, Any]:
        """Every key as the command line names it, such as `config.training.batch_size`, with its value."""

        def flattened(path: str, value: Any) -> dict[str, Any]:
            if not isinstance(value, Mapping):
                return {path: value}
            entries = [flattened(f"{path}.{name}", each) for name, each in value.items()]
            return {key: each for entry in entries for key, each in entry.items()}

        found = flattened("config", dataclasses.asdict(self))
        return {key: value for key, value in found.items() if key not in without}

    def to_json(self) -> str:
        """The resolved configuration as readable JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"
