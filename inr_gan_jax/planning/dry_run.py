"""--dry_run: describes a run from shapes alone."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from clu import parameter_overview
from etils import epath

from inr_gan_jax.array_types import Params
from inr_gan_jax.config.schema import Config
from inr_gan_jax.data.read.dataset import NotPreparedError, check_available, data_root
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.training.evaluation import check_metric
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.phase_inputs import sample_phase_inputs
from inr_gan_jax.training.phase_losses import load_perceptual, vgg16_distance
from inr_gan_jax.training.run_folder import check_data, check_run_folder
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep

# Rows of the memory table that are split over devices; each device holds all of the others.
ACTIVATIONS = "activations kept (larger phase, before fusion)"
BATCH = "batch"


def abstract_step(
    config: Config, features: Any = None
) -> tuple[TrainState, dict[str, jax.ShapeDtypeStruct], TrainStep, Any]:
    """Traces a whole training step without computing or allocating anything.

    Args:
        config: of the run.
        features: weights of the network of the perceptual term, or their shapes.

    Returns:
        State and batch before the step, the step, and (state, scalars) after it, all as shapes.
    """
    generator, discriminator = build_generator(config, for_training=True), build_discriminator(config)
    optimizers = build_optimizers(config)
    distance = vgg16_distance if config.loss.perceptual_weight else None
    step = TrainStep(config, generator, discriminator, optimizers, perceptual=distance)
    state = jax.eval_shape(lambda: init_state(config, generator, discriminator, optimizers))
    data, batch_size = config.data, config.training.batch_size
    batch = {
        "image": jax.ShapeDtypeStruct((batch_size, data.height, data.width, data.channels), jnp.uint8),
        "label": jax.ShapeDtypeStruct((batch_size,), jnp.int32),
    }
    return state, batch, step, jax.eval_shape(step, state, batch, features)


def describe(config: Config, workdir: epath.Path) -> str:
    """Describes a run: configuration, networks, memory and schedule; writes nothing and uses no device.

    Raises:
        UserError: for a run folder of another run, or another mistake.
    """
    check_run_folder(workdir, config)
    check_metric(config.evaluation)
    features, _ = load_perceptual(config.loss)
    state, batch, step, _ = abstract_step(config, features)
    sections = [config.to_json().rstrip()]
    for name, params in (("generator", state.generator_params), ("discriminator", state.discriminator_params)):
        overview = parameter_overview.get_parameter_overview(params, include_stats=False, max_lines=None)
        sections.append(f"{name}: {num_parameters(params):,} parameters\n{overview}")
    sections.append(_memory_table(memory_rows(state, batch, step, features)))
    rows = {"run folder": str(workdir), "data": data_row(config, workdir), **plan_rows(config)}
    sections.append("\n".join(["plan:", *(f"  {name:<14} {value}" for name, value in rows.items())]))
    return "\n\n".join(sections)


def data_row(config: Config, workdir: epath.Path) -> str:
    """Where the data set is and whether it is mirrored, or what is wrong with it."""
    try:
        check_data(workdir, check_available(config.data), config.data.name)
    except NotPreparedError as error:
        return f"NOT THERE: {error}"
    except UserError as error:
        return f"DOES NOT FIT: {error}"
    mirrored = "each image mirrored half of the time (config.data.x_flip)" if config.data.x_flip else "not mirrored"
    return f"{config.data.name} in {data_root(config.data.data_dir)}, {mirrored}"


def num_parameters(params: Params) -> int:
    """Number of parameters of a network."""
    # A scalar parameter makes the sum a float.
    return int(parameter_overview.count_parameters(params))


def _num_bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def memory_rows(state: TrainState, batch: Any, step: TrainStep, features: Any) -> dict[str, int]:
    """Bytes of a step by their use, for the whole batch on one device, before operations are fused."""
    images = jax.eval_shape(step.prepare, batch)
    sample = functools.partial(sample_phase_inputs, step.config, step.generator, step.losses.augmentation)
    part = step.config.training.batch_size // step.config.training.num_microbatches
    inputs = jax.eval_shape(lambda images: sample(images, jax.random.key(0)).first(part), images)

    def residuals(loss: Callable[..., Any], params: Params) -> int:
        # The closure returned by vjp holds what the backward pass keeps, parameters included.
        def backward_of(params: Params, state: TrainState, inputs: Any) -> Any:
            return jax.vjp(lambda params: loss(params, state, inputs, features)[0], params)[1]

        return max(0, _num_bytes(jax.eval_shape(backward_of, params, state, inputs)) - _num_bytes(params))

    activations = max(
        residuals(step.losses.generator_loss, state.generator_params),
        residuals(step.losses.discriminator_loss, state.discriminator_params),
    )
    return {
        "parameters": _num_bytes((state.generator_params, state.discriminator_params)),
        "optimizer states": _num_bytes((state.generator_opt, state.discriminator_opt)),
        "averaged generator (EMA)": _num_bytes(state.ema_params),
        "gradients (larger network)": max(_num_bytes(state.generator_params), _num_bytes(state.discriminator_params)),
        ACTIVATIONS: activations,
        BATCH: _num_bytes(batch),
    }


def _memory_table(rows: Mapping[str, int]) -> str:
    lines = [f"  {name:<48} {size / 2**20:>10,.1f} MiB" for name, size in rows.items()]
    total = sum(rows.values())
    title = "memory, for the whole batch on one device:"
    return "\n".join([title, *lines, f"  {'sum':<48} {total / 2**20:>10,.1f} MiB"])


def plan_rows(config: Config) -> dict[str, str]:
    """The schedule of a run, by name."""
    settings = config.training
    return {
        "steps": f"{settings.total_steps:,} of {settings.batch_size} images, {settings.total_kimg:g} kimg",
        "numbers": f"every {settings.steps(settings.log_kimg):,} steps",
        "sample grids": _period(settings.steps(settings.sample_kimg)),
        "evaluations": f"{config.evaluation.metric}, {_period(settings.steps(settings.evaluate_kimg))}",
        "checkpoints": f"every {settings.steps(settings.checkpoint_kimg):,} steps, {settings.keep_checkpoints} kept",
    }


def _period(steps: int) -> str:
    return f"every {steps:,} steps" if steps else "none"
