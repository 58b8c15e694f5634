"""The sections of a configuration: values and what follows from them; configs/default.py explains every key.

Keys with a default here are newer than the first runs: an older `config.json` does without them.
"""

import dataclasses
import math
from typing import Literal


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Section `data`; configs/default.py explains every key."""

    name: str
    split: str
    data_dir: str
    height: int
    width: int
    channels: int
    num_classes: int
    x_flip: bool
    num_threads: int
    prefetch: int
    num_workers: int = 0
    cache_mib: int = 1024


@dataclasses.dataclass(frozen=True)
class PaperConfig:
    """Section `paper`: the generator."""

    z_dim: int
    class_embedding_dim: int
    mapping_dim: int
    num_mapping_layers: int
    rank: int
    features: tuple[int, ...]
    num_layers: tuple[int, ...]
    num_fourier_features: tuple[int, ...]
    fourier_scale: tuple[float, ...]
    max_num_fixed_features: tuple[int, ...]
    to_rgb: tuple[bool, ...]
    use_diagonal_features: bool
    first_dense_block: int
    training_rule: Literal["paper", "pointwise"]
    activation: Literal["relu", "leaky_relu"]
    leaky_slope: float
    equalised_lr: bool
    modulation: Literal["factorised", "full", "none"] = "factorised"
    modulation_activation: Literal["sigmoid", "tanh", "demod"] = "sigmoid"
    scales: Literal["staged", "averaged"] = "staged"
    fourier_source: Literal["emitted", "learned"] = "emitted"
    use_raw_coordinates: bool = False


@dataclasses.dataclass(frozen=True)
class CoordinateConfig:
    """An entry of `release.coordinates`: what a block learns about positions at one resolution."""

    resolution: int
    max_num_log_features: int = 0
    use_diagonals: bool = False
    num_random_features: int = 0
    num_shared_features: int = 0
    num_predicted_features: int = 0
    table_channels: int = 0
    use_raw_coordinates: bool = False
    use_cosine: bool = False
    fourier_scale: float = math.sqrt(10)
    init_distribution: Literal["normal", "uniform"] = "normal"


@dataclasses.dataclass(frozen=True)
class ReleaseConfig:
    """Section `release`: the generator when `model` is `release`."""

    z_dim: int
    w_dim: int
    num_mapping_layers: int
    mapping_lr_multiplier: float
    label_features: int | None
    mapping_features: int | None
    w_avg_decay: float
    channel_base: int
    channel_max: int
    input_type: Literal["coordinates", "const"]
    input_resolution: int
    upsampling: Literal["nearest", "bilinear", "fir"]
    kernel_size: int
    coordinate_blocks: Literal["none", "upsampling", "every"]
    coordinates: tuple[CoordinateConfig, ...]
    factor_activation: Literal["demod", "sigmoid", "tanh"] | None
    rank: int
    instance_norm: bool
    num_extra_layers: tuple[tuple[int, int], ...]
    use_noise: bool
    conv_clamp: float | None
    first_dense_lattice: int


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Section `discriminator`."""

    channel_base: int
    channel_max: int
    mbstd_group_size: int | None
    mbstd_channels: int
    conv_clamp: float | None
    architecture: Literal["resnet", "skip", "orig"]
    num_label_layers: int
    label_projection_features: int | None
    label_lr_multiplier: float


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Section `loss`."""

    r1_gamma: float
    r1_interval: int
    adversarial: Literal["logistic", "relativistic", "hinge"] = "logistic"
    r2_gamma: float = 0.0
    pl_weight: float = 0.0
    pl_interval: int = 1
    pl_decay: float = 0.01
    pl_batch_shrink: int = 2
    style_mixing_prob: float = 0.0
    perceptual_weight: float = 0.0
    vgg16_file: str = ""

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
    """Section `augment`."""

    kind: Literal["none", "ada", "fixed", "differentiable"] = "none"
    pipeline: Literal["blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"] = (
        "bgc"
    )
    policy: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation", "cutout")
    initial_p: float = 0.0
    target: float = 0.6
    interval: int = 4
    kimg: float = 500.0


@dataclasses.dataclass(frozen=True)
class GuardConfig:
    """Section `guard`."""

    action: Literal["log", "stop", "roll_back"] = "log"
    warmup_kimg: float = 0.0
    num_ticks: int = 3
    max_sign: float = 0.999
    min_contrast: float = 0.02
    metric_factor: float = 5.0
    max_rollbacks: int = 2
    lr_factor: float = 1.0


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Section `optimizer`."""

    class_embedding_lr: float
    mapping_lr: float
    connector_lr: float
    inr_lr: float
    discriminator_lr: float
    beta1: float
    beta2: float
    epsilon: float
    decay_kimg: float
    final_lr_fraction: float


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Section `training`."""

    batch_size: int
    total_kimg: float
    ema_kimg: float
    ema_rampup: float
    log_kimg: float
    sample_kimg: float
    sample_grid: tuple[int, int]
    evaluate_kimg: float
    checkpoint_kimg: float
    keep_checkpoints: int
    keep_every_kimg: float = 0.0
    num_microbatches: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    generator_first: bool = False

    def steps(self, kimg: float) -> int:
        """Turns a duration in kimg into steps; at least 1 for any duration above 0, and 0 for 0."""
        return max(1, round(kimg * 1000 / self.batch_size)) if kimg > 0 else 0

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps(self.total_kimg)


@dataclasses.dataclass(frozen=True)
class ShardingConfig:
    """Section `sharding`."""

    spatial: int = 1
    optimizer: bool = False


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Section `evaluation`."""

    metric: str
    num_samples: int
    batch_size: int
    weights_file: str = ""
    cache_dir: str = "~/.cache/inr_gan_jax/metrics"
