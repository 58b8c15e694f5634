"""--dry_run: what a run would be, worked out from shapes alone."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from inr_gan_jax.array_types import Params
from inr_gan_jax.config.parse import Config
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

# Rows of the memory that devices share; all others each device holds whole.
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
    """Describes a run: configuration, networks, memory and plan; touches no disk and no device.

    Raises:
        UserError: for a run folder that does not fit.
    """
    check_run_folder(workdir, config)
    check_metric(config.evaluation)
    features, _ = load_perceptual(config.loss)
    state, batch, step, _ = abstract_step(config, features)
    sections = [config.to_json().rstrip()]
    for name, params in (("generator", state.generator_params), ("discriminator", state.discriminator_params)):
        sections.append(_parameter_table(name, params))
    sections.append(_memory_table(memory_rows(state, batch, step, features)))
    rows = {"run folder": str(workdir), "data": _data_row(config, workdir), **plan_rows(config)}
    sections.append("\n".join(["plan:", *(f"  {name:<14} {value}" for name, value in rows.items())]))
    return "\n\n".join(sections)


def _data_row(config: Config, workdir: epath.Path) -> str:
    """Where the images are and how they are used, or what is wrong with them."""
    try:
        check_data(workdir, check_available(config.data), config.data.name)
    except NotPreparedError as error:
        return f"NOT THERE: {error}"
    except UserError as error:
        return f"DOES NOT FIT: {error}"
    mirrored = "each image mirrored half of the time (config.data.x_flip)" if config.data.x_flip else "not mirrored"
    return f"{config.data.name} in {data_root(config.data.data_dir)}, {mirrored}"


def num_parameters(params: Params) -> int:
    """How many numbers a network has."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def _num_bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _parameter_table(name: str, params: Params) -> str:
    rows = [f"{name}: {num_parameters(params):,} parameters"]
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        key = "/".join(str(entry.key) for entry in path)
        rows.append(f"  {key:<44} {tuple(leaf.shape)!s:>20} {math.prod(leaf.shape):>13,}")
    return "\n".join(rows)


def memory_rows(state: TrainState, batch: Any, step: TrainStep, features: Any) -> dict[str, int]:
    """Bytes of a step by their use, on one device that takes the whole batch, before operations are fused."""
    images = jax.eval_shape(step.prepare, batch)
    draw = functools.partial(sample_phase_inputs, step.config, step.generator, step.losses.augmentation)
    part = step.config.training.batch_size // step.config.training.num_microbatches
    inputs = jax.eval_shape(lambda images: draw(images, jax.random.key(0)).first(part), images)

    def residuals(loss: Callable[..., Any], params: Params) -> int:
        # What the backward pass keeps is what the closure returned by vjp holds; the parameters are counted elsewhere.
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
        "averaged generator": _num_bytes(state.ema_params),
        "gradients (larger network)": max(_num_bytes(state.generator_params), _num_bytes(state.discriminator_params)),
        ACTIVATIONS: activations,
        BATCH: _num_bytes(batch),
    }


def _memory_table(rows: Mapping[str, int]) -> str:
    lines = [f"  {name:<48} {size / 2**20:>10,.1f} MiB" for name, size in rows.items()]
    total = sum(rows.values())
    title = "memory, on one device that takes the whole batch:"
    return "\n".join([title, *lines, f"  {'sum':<48} {total / 2**20:>10,.1f} MiB"])


def plan_rows(config: Config) -> dict[str, str]:
    """What a run does and how often, by name."""
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
