"""Images of seeds and of sets: each from a key of its own, on any number of devices, at any size of the batch."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax import sampling
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import latents, sample_modulations, sampler_of
from inr_gan_jax.inference.pictures import render_each
from inr_gan_jax.metrics.devices import batch_devices
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.sampling import Sampler, Truncation, keys_of_indices, keys_of_seeds
from tests.closeness import assert_close
from tests.conftest import small_release_config
from tests.inference.tools import loaded_paper, loaded_release, random_generator, small_generator

REAL_LABELS = np.array([0, 2, 2, 2])


@functools.cache
def conditional() -> Sampler:
    """A conditional network with noise."""
    loaded = random_generator(small_release_config(data={"num_classes": 3}), 1.0)
    return Sampler(loaded.generator, loaded.variables, loaded.w_avg, real_labels=REAL_LABELS, batch_size=8)


def on_devices(sampler: Sampler, count: int, **changes: object) -> Sampler:
    return dataclasses.replace(sampler, mesh=batch_devices(count).mesh, **changes)


def images_of(sampler: Sampler, seed: int, count: int) -> np.ndarray:
    return np.concatenate([np.asarray(batch) for batch in sampler.batches(seed, count)])


@functools.cache
def expected() -> np.ndarray:
    return images_of(conditional(), 3, 21)


def test_images_differ_by_index_and_by_seed() -> None:
    images = expected()
    assert images.shape == (21, 8, 8, 1)
    gaps = np.abs(images[:, None] - images[None]).max(axis=(2, 3, 4))
    assert (gaps + np.eye(21) > 1e-3).all()
    assert np.abs(images_of(conditional(), 4, 8) - images[:8]).max() > 1e-3


def test_an_image_does_not_depend_on_the_batch() -> None:
    assert [len(batch) for batch in conditional().batches(3, 21)] == [8, 8, 5]
    assert_close(images_of(dataclasses.replace(conditional(), batch_size=5), 3, 11), expected()[:11])


@pytest.mark.parametrize("num_devices", [1, 8])
def test_an_image_does_not_depend_on_the_devices(num_devices: int) -> None:
    sampler = on_devices(conditional(), num_devices)
    batch = next(sampler.batches(3, 21))
    assert len(batch.sharding.device_set) == num_devices
    assert_close(images_of(sampler, 3, 21), expected())


def test_noise_is_fresh_for_every_image() -> None:
    sampler = dataclasses.replace(conditional(), truncation=Truncation(0.0))
    first, second = images_of(sampler, 3, 2)
    # The same codes: what differs is the noise.
    assert np.abs(first - second).max() > 1e-3


def test_labels_have_the_shares_of_the_real_images() -> None:
    labels = conditional().labels(keys_of_indices(jnp.uint32(0), jnp.arange(4000, dtype=jnp.uint32)))
    assert labels is not None
    shares = np.mean(labels, axis=0)
    assert shares[1] == 0
    # Five standard deviations.
    assert abs(shares[0] - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_conditional_generator_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="conditional"):
        next(dataclasses.replace(conditional(), real_labels=None).batches(0, 1))


def test_truncation_without_a_mean_is_one_sentence() -> None:
    loaded = small_generator()
    with pytest.raises(UserError, match="small one holds no mean of w"):
        Sampler(loaded.generator, loaded.variables, truncation=Truncation(0.5), source="small one")


def test_second_generator_of_the_same_settings_compiles_nothing() -> None:
    expected()
    before = sampling._synthesise._cache_size(), sampling._map._cache_size()
    halved = jax.tree.map(lambda leaf: leaf / 2, conditional().variables)
    images_of(dataclasses.replace(conditional(), variables=halved), 5, 30)
    assert (sampling._synthesise._cache_size(), sampling._map._cache_size()) == before


@pytest.mark.parametrize("name", ["_map", "_synthesise", "_modulate", "_render"])
def test_each_of_eight_devices_has_an_eighth_of_the_work(name: str) -> None:
    flops = {}
    for num_devices in (1, 8):
        sampler = on_devices(conditional(), num_devices, batch_size=64)
        generator, variables = sampler.generator, sampler.variables
        z = jnp.zeros((64, generator.z_dim))
        ws = jnp.zeros((64, generator.num_ws, generator.w_dim))
        modulations = jax.eval_shape(functools.partial(sampling._modulate, generator), variables, ws)
        modulations = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), modulations)
        z, c, ws, keys, modulations = sampler._shard(
            (z, jnp.zeros((64, 3)), ws, keys_of_seeds(jnp.arange(64, dtype=jnp.uint32)), modulations)
        )
        arguments = {
            "_map": (z, c),
            "_synthesise": (ws, keys),
            "_modulate": (ws,),
            "_render": (modulations, generator.grids(generator.native_viewport)),
        }[name]
        compiled = getattr(sampling, name).lower(generator, variables, *arguments).compile()
        flops[num_devices] = compiled.cost_analysis()["flops"]
        assert "all-" not in compiled.as_text(), "devices do not talk to each other"
    assert flops[8] <= 1.05 * flops[1] / 8


@pytest.mark.parametrize("num_devices", [1, 8])
def test_modulations_and_images_are_made_in_parts(num_devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_release()
    seeds = range(11)
    view = Viewport(12, 12, rule="pointwise")
    at_once = sample_modulations(loaded, seeds)
    images = np.concatenate([np.asarray(batch) for batch in sampler_of(loaded).render(at_once, view)])
    monkeypatch.setattr(sampling, "PIXELS_PER_CALL", 2 * 12 * 12)
    sampler = on_devices(sampler_of(loaded), num_devices, batch_size=4)
    parts = sampler.modulations(sampler.codes(latents(loaded, seeds)))
    jax.tree.map(assert_close, parts, at_once)
    batches = list(sampler.render(parts, view))
    assert [len(batch) for batch in batches] == ([2] * 5 + [1] if num_devices == 1 else [11])
    assert_close(np.concatenate([np.asarray(batch) for batch in batches]), images)


def test_images_in_strips_on_several_devices_join_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_paper()
    modulations = sample_modulations(loaded, range(3))
    view = Viewport(21, 18, top=-0.2, left=0.1, height_extent=1.3, width_extent=0.9, rule="paper")
    (whole,) = sampler_of(loaded).render_bytes(modulations, view)
    monkeypatch.setattr(sampling, "PIXELS_PER_CALL", 4 * 18)
    strips = np.concatenate(list(on_devices(sampler_of(loaded), 2).render_bytes(modulations, view)))
    assert strips.shape == (3, 21, 18, 1)
    assert np.abs(strips.astype(int) - whole).max() <= 1


def test_small_images_are_rendered_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_paper()
    calls: list[int] = []
    render = sampling._render

    def counted(*arguments: Any) -> jax.Array:
        calls.append(1)
        return render(*arguments)

    modulations = sample_modulations(loaded, range(256))
    monkeypatch.setattr(sampling, "_render", counted)
    images = list(render_each(loaded, modulations, loaded.generator.native_viewport))
    assert (len(images), len(calls)) == (256, 1)
