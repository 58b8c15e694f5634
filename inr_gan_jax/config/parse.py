"""The typed configuration: frozen, validated, and the only reader of ConfigDict."""

import dataclasses
import difflib
import json
import operator
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from ml_collections import ConfigDict

from inr_gan_jax.config.sections import (
    AugmentConfig,
    DataConfig,
    DiscriminatorConfig,
    EvaluationConfig,
    GuardConfig,
    LossConfig,
    OptimizerConfig,
    PaperConfig,
    ReleaseConfig,
    ShardingConfig,
    TrainingConfig,
)
from inr_gan_jax.errors import UserError

# The side at which the discriminator stops halving.
_SMALLEST_SIDE = 4
# A covariance of this many numbers an image still fits and means something.
_MAX_PIXEL_FEATURES = 4096

_T = TypeVar("_T")


class ConfigError(UserError):
    """A key, a type or a combination of values that cannot be."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str
    seed: int
    one_cpu_thread: bool
    num_devices: int
    compilation_cache_dir: str
    model: Literal["paper", "release"]
    data: DataConfig
    paper: PaperConfig | None
    release: ReleaseConfig | None
    discriminator: DiscriminatorConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    guard: GuardConfig = dataclasses.field(default_factory=GuardConfig)
    sharding: ShardingConfig = dataclasses.field(default_factory=ShardingConfig)

    @classmethod
    def from_config_dict(cls, config: ConfigDict | Mapping[str, Any]) -> "Config":
        """Builds and validates the configuration, from a ConfigDict or a plain dict.

        Raises:
            ConfigError: one sentence with the key, the value got and what is allowed.
        """
        return cls.from_dict(config.to_dict() if isinstance(config, ConfigDict) else config)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """As `from_config_dict`, from plain containers (`config.json` of a run)."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"the configuration is {values!r}, expected a section")
        config = _build(cls, values, "config")
        _validate(config)
        return config

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


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """A hint that lists the most similar names, or all of them when none is similar."""
    names = sorted(names)
    similar = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"nearest: {', '.join(similar)}" if similar else f"known: {', '.join(names)}"


def nested_keys(section: type, path: typing.Sequence[str]) -> set[str]:
    """Keys of the section that a path of keys leads to; none where it leads to no section."""
    for name in path:
        hint = typing.get_type_hints(section).get(name)
        kinds = [
            kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type) and dataclasses.is_dataclass(kind)
        ]
        if not kinds:
            return set()
        section = kinds[0]
    return set(typing.get_type_hints(section))


def _build(cls: type[_T], values: Mapping[str, Any], path: str) -> _T:
    """Fills a dataclass from a mapping, checking names and types."""
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise ConfigError(f"unknown key {path}.{key}; {nearest(key, hints)}")
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType] - a dataclass, by the callers
        if field.name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"key {path}.{field.name} is missing")
    return cls(**{key: _convert(value, hints[key], f"{path}.{key}") for key, value in values.items()})


def _convert(value: Any, hint: Any, path: str) -> Any:
    """Checks one value against its annotation; integers are accepted where a float is expected, lists as tuples."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}, expected a section")
        return _build(hint, value, path)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = [argument for argument in arguments if argument is not types.NoneType]
        return None if value is None else _convert(value, hint, path)
    if origin is tuple:
        return _convert_tuple(value, arguments, path)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{path} is {value!r}, expected one of {', '.join(map(str, arguments))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(
            f"{path} is {value!r} of type {type(value).__name__}, expected {getattr(hint, '__name__', hint)}"
        )
    return value


def _convert_tuple(value: Any, arguments: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    """Checks a tuple: any length for `tuple[int, ...]`, else one entry an annotation."""
    if not isinstance(value, (tuple, list)):
        raise ConfigError(f"{path} is {value!r}, expected a tuple")
    hints = (arguments[0],) * len(value) if arguments[-1] is Ellipsis else arguments
    if len(value) != len(hints):
        raise ConfigError(f"{path} is {value!r}, expected {len(hints)} entries")
    pairs = enumerate(zip(value, hints, strict=True))
    return tuple(_convert(item, hint, f"{path}[{index}]") for index, (item, hint) in pairs)


def _require(holds: bool, key: str, value: Any, expected: str) -> None:
    if not holds:
        raise ConfigError(f"config.{key} is {value!r}, expected {expected}")


_AT_LEAST_ONE = {
    "data": ("height", "width", "num_threads", "prefetch"),
    "paper": ("z_dim", "class_embedding_dim", "mapping_dim", "num_mapping_layers", "rank"),
    "release": ("z_dim", "w_dim", "num_mapping_layers", "channel_base", "channel_max", "rank"),
    "discriminator": ("channel_base", "channel_max", "mbstd_group_size"),
    "loss": ("r1_interval", "pl_interval", "pl_batch_shrink"),
    "augment": ("interval",),
    "guard": ("num_ticks",),
    "training": ("batch_size", "keep_checkpoints", "num_microbatches"),
    "evaluation": ("batch_size",),
}
_ABOVE_ZERO = {
    "optimizer": ("class_embedding_lr", "mapping_lr", "connector_lr", "inr_lr", "discriminator_lr", "epsilon"),
    "augment": ("kimg",),
    "guard": ("lr_factor",),
    "training": ("total_kimg", "ema_kimg", "log_kimg", "checkpoint_kimg"),
    "release": ("mapping_lr_multiplier", "conv_clamp"),
    "discriminator": ("conv_clamp", "label_lr_multiplier", "label_projection_features"),
}
_NOT_NEGATIVE = {
    "data": ("num_classes", "num_workers", "cache_mib"),
    "paper": ("first_dense_block", "leaky_slope"),
    "release": ("w_avg_decay", "first_dense_lattice"),
    "discriminator": ("mbstd_channels", "num_label_layers"),
    "loss": ("r1_gamma", "r2_gamma", "pl_weight", "perceptual_weight"),
    "guard": ("warmup_kimg", "min_contrast", "max_rollbacks"),
    "optimizer": ("decay_kimg", "final_lr_fraction"),
    "training": ("ema_rampup", "sample_kimg", "evaluate_kimg", "keep_every_kimg"),
}
_SHARES = {
    "loss": ("pl_decay", "style_mixing_prob"),
    "augment": ("initial_p", "target"),
    "guard": ("max_sign",),
}
# The smallest side that VGG16 halves four times and still sees something of.
_SMALLEST_PERCEPTUAL_SIDE = 16


def _validate_paths(config: Config) -> None:
    """Refuses addresses of buckets where files are opened on a disk."""
    for key in ("compilation_cache_dir", "loss.vgg16_file", "evaluation.weights_file", "evaluation.cache_dir"):
        value = operator.attrgetter(key)(config)
        _require("://" not in value, key, value, "a path on a disk")


def _validate(config: Config) -> None:
    """Refuses values and combinations that no run can have."""
    for bounds, low, expected in (
        (_AT_LEAST_ONE, 1, "at least 1"),
        (_ABOVE_ZERO, None, "more than 0"),
        (_NOT_NEGATIVE, 0, "0 or more"),
    ):
        for section, keys in bounds.items():
            for key in keys:
                value = getattr(getattr(config, section), key, None)
                if value is None:
                    continue
                holds = 0 < value < float("inf") if low is None else low <= value < float("inf")
                _require(holds, f"{section}.{key}", value, expected)
    for section, keys in _SHARES.items():
        for key in keys:
            value = getattr(getattr(config, section), key)
            _require(0 <= value <= 1, f"{section}.{key}", value, "0 to 1")
    _require(bool(config.name) and "/" not in config.name, "name", config.name, "a file name")
    _require(config.num_devices >= 0, "num_devices", config.num_devices, "0 (all) or more")
    _require(0 <= config.seed < 2**32, "seed", config.seed, "0 to 2**32 - 1")
    _require(config.data.channels in (1, 3), "data.channels", config.data.channels, "1 or 3")
    for key in ("beta1", "beta2"):
        value = getattr(config.optimizer, key)
        _require(0 <= value < 1, f"optimizer.{key}", value, "0 to below 1")
    grid = config.training.sample_grid
    _require(min(grid) >= 1, "training.sample_grid", grid, "at least one row and one column")
    _require(
        getattr(config, config.model) is not None, config.model, None, f"a section, as config.model is {config.model!r}"
    )
    if config.model == "paper":
        _validate_blocks(config)
    else:
        _validate_release(config)
    _validate_discriminator(config)
    _validate_evaluation(config)
    _validate_losses(config)
    _validate_paths(config)
    _validate_batches(config)
    guard = config.guard
    _require(guard.metric_factor > 1, "guard.metric_factor", guard.metric_factor, "more than 1")


def _validate_blocks(config: Config) -> None:
    paper = config.paper
    assert paper is not None, "checked by the caller"
    num_blocks = len(paper.features)
    _require(num_blocks >= 1, "paper.features", paper.features, "at least one block")
    for key in ("num_layers", "num_fourier_features", "fourier_scale", "max_num_fixed_features", "to_rgb"):
        value = getattr(paper, key)
        expected = f"{num_blocks} entries, as many as paper.features has"
        _require(len(value) == num_blocks, f"paper.{key}", value, expected)
    for key in ("features", "num_layers"):
        value = getattr(paper, key)
        _require(min(value) >= 1, f"paper.{key}", value, "at least 1 each")
    for key in ("num_fourier_features", "max_num_fixed_features"):
        value = getattr(paper, key)
        _require(min(value) >= 0, f"paper.{key}", value, "0 or more each")
    pairs = zip(paper.num_fourier_features, paper.max_num_fixed_features, strict=True)
    has_coordinates = paper.use_raw_coordinates or all(waves > 0 or fixed >= 4 for waves, fixed in pairs)
    expected = "above 0 in every block, or max_num_fixed_features of at least 4 there, or use_raw_coordinates"
    _require(has_coordinates, "paper.num_fourier_features", paper.num_fourier_features, expected)
    for key in ("height", "width"):
        value, multiple = getattr(config.data, key), 2 ** (num_blocks - 1)
        expected = (
            f"a multiple of {multiple}, because the generator's {num_blocks} blocks halve it {num_blocks - 1} times"
        )
        _require(value % multiple == 0, f"data.{key}", value, expected)
    _validate_alternatives(paper)


def _validate_alternatives(paper: PaperConfig) -> None:
    """Refuses what has no effect, or no meaning, beside an alternative to a part of the paper's network."""
    if paper.modulation != "factorised":
        expected = f"'sigmoid' with paper.modulation = {paper.modulation!r}, which has no factors"
        activation = paper.modulation_activation
        _require(activation == "sigmoid", "paper.modulation_activation", activation, expected)
    if paper.modulation == "full":
        expected = "False with paper.modulation = 'full', which has no shared weights"
        _require(not paper.equalised_lr, "paper.equalised_lr", paper.equalised_lr, expected)
    if paper.fourier_source == "learned":
        expected = "above 0 in a block, as paper.fourier_source is 'learned'"
        counts = paper.num_fourier_features
        _require(max(counts) > 0, "paper.num_fourier_features", counts, expected)
    if paper.scales == "averaged":
        expected = "at least two blocks, as paper.scales is 'averaged'"
        _require(len(paper.features) > 1, "paper.features", paper.features, expected)
        expected = "True in every block, as each draws a picture of its own with paper.scales = 'averaged'"
        _require(all(paper.to_rgb), "paper.to_rgb", paper.to_rgb, expected)


def _validate_release(config: Config) -> None:
    """Checks what ReleaseSettings cannot know; they check themselves when the network is built."""
    height, width = config.data.height, config.data.width
    _require(height == width, "data.width", width, f"config.data.height = {height}, as the release networks are square")
    _require(height >= 4 and height & (height - 1) == 0, "data.height", height, "a power of two from 4 on")


def _validate_discriminator(config: Config) -> None:
    smaller = min(config.data.height, config.data.width)
    halvings = (smaller // _SMALLEST_SIDE).bit_length() - 1
    key = "height" if smaller == config.data.height else "width"
    is_power = smaller >= _SMALLEST_SIDE and smaller == _SMALLEST_SIDE << halvings
    _require(is_power, f"data.{key}", smaller, "4, 8, 16, 32 ... because the discriminator halves it down to 4")
    multiple = 1 << halvings
    for key in ("height", "width"):
        value = getattr(config.data, key)
        _require(value % multiple == 0, f"data.{key}", value, f"a multiple of {multiple}, as the discriminator halves")
    base = config.discriminator.channel_base
    _require(base >= smaller, "discriminator.channel_base", base, f"at least {smaller}, the smaller side of the image")
    batch = config.training.batch_size
    parts = config.discriminator.mbstd_channels
    width = min(base // _SMALLEST_SIDE, config.discriminator.channel_max)
    expected = f"0 or a divisor of the last width, {width}"
    _require(parts == 0 or width % parts == 0, "discriminator.mbstd_channels", parts, expected)
    group = config.discriminator.mbstd_group_size or batch
    expected = f"a multiple of discriminator.mbstd_group_size = {group}"
    _require(batch < group or batch % group == 0, "training.batch_size", batch, expected)


def _validate_losses(config: Config) -> None:
    loss, augment = config.loss, config.augment
    if loss.style_mixing_prob:
        expected = "0, as the paper model has one code for all layers"
        _require(config.model != "paper", "loss.style_mixing_prob", loss.style_mixing_prob, expected)
    if loss.pl_weight:
        expected = "at least 2 with loss.pl_weight above 0, as path length has steps of its own"
        _require(loss.pl_interval >= 2, "loss.pl_interval", loss.pl_interval, expected)
    if loss.perceptual_weight:
        expected = "the path of torchvision's vgg16 weights (.pth or .npz), as loss.perceptual_weight is above 0"
        _require(bool(loss.vgg16_file), "loss.vgg16_file", loss.vgg16_file, expected)
        side = min(config.data.height, config.data.width)
        expected = f"at least {_SMALLEST_PERCEPTUAL_SIDE} with loss.perceptual_weight above 0"
        _require(side >= _SMALLEST_PERCEPTUAL_SIDE, "data.height", side, expected)
    _require(len({*augment.policy}) == len(augment.policy), "augment.policy", augment.policy, "each name once")


def _validate_batches(config: Config) -> None:
    """Checks that a batch can be cut into microbatches and laid over devices with its statistics unchanged."""
    batch, rounds = config.training.batch_size, config.training.num_microbatches
    group = min(config.discriminator.mbstd_group_size or batch, batch) if config.discriminator.mbstd_channels else 1
    expected = f"a divisor of training.batch_size = {batch}, each part whole groups of {group} (mbstd_group_size)"
    _require(batch % (rounds * group) == 0, "training.num_microbatches", rounds, expected)
    if config.loss.pl_weight:
        small = batch // config.loss.pl_batch_shrink
        expected = f"such that training.batch_size = {batch} divides by it and then by {rounds} microbatches"
        holds = batch % config.loss.pl_batch_shrink == 0 and small > 0 and small % rounds == 0
        _require(holds, "loss.pl_batch_shrink", config.loss.pl_batch_shrink, expected)
    spatial, height = config.sharding.spatial, config.data.height
    _require(
        spatial >= 1 and height % spatial == 0, "sharding.spatial", spatial, f"a divisor of data.height = {height}"
    )
    if config.num_devices:
        devices = config.num_devices
        _require(devices % spatial == 0, "sharding.spatial", spatial, f"a divisor of config.num_devices = {devices}")
        expected = f"a multiple of config.num_devices = {devices}" + f" / {spatial}" * (spatial > 1)
        _require(batch % (devices // spatial) == 0, "training.batch_size", batch, expected)


def _validate_evaluation(config: Config) -> None:
    _require(config.evaluation.num_samples >= 2, "evaluation.num_samples", config.evaluation.num_samples, "at least 2")
    if config.evaluation.metric != "pixel_fd":
        return
    size = config.data.height * config.data.width * config.data.channels
    expected = f"another metric for {size} numbers an image; pixel_fd takes at most {_MAX_PIXEL_FEATURES}"
    _require(size <= _MAX_PIXEL_FEATURES, "evaluation.metric", "pixel_fd", expected)
