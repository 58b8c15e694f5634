"""The recorded tensors of the official INR-GAN code, laid out as our variables."""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.importers.official_settings import discriminator_network, generator_settings
from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.release.layers import NoiseMode
from inr_gan_jax.models.release.network import ReleaseNetwork
from inr_gan_jax.models.release.official_names import ArraySlot, discriminator_slots, generator_slots
from tests.golden.records import load, load_json, rearranged

INPUTS = ("z", "c", "ws_mixed", "pl_noise", "pl_mean_in", "real", "real8", "img", "G/mapping.w_avg")
VARIANTS = ("tiny-inr-gan-32", "tiny-inr-gan-bil-32", "tiny-cips-16", "tiny-stylegan2-16", "misc-sigmoid-32")


def compiled(function: Any, level: int = 0) -> Any:
    """jax.jit without the costly passes of the compiler, for programs that run once; level 1 for twenty times."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": level})


class Recording:
    """One recorded variant: its arrays, our networks, and the recorded weights as our variables.

    Weights and inputs are float32 in the file, the results to compare with float64; long results may be summaries.
    """

    def __init__(self, variant: str, dtype: Any = np.float64) -> None:
        self.arrays = load(variant)
        self.dtype = dtype
        arguments = load_json("variants.json")[variant]
        self.settings = generator_settings(arguments["G_kwargs"])
        self.network = ReleaseNetwork(self.settings)
        self.slots = generator_slots(generator_of(self.settings).variable_shapes)
        self.variables = self.weights("G/", self.slots)
        self.variables.setdefault("constants", {})
        self.discriminator = discriminator_network(arguments["D_kwargs"])
        shapes = self.discriminator.variable_shapes(self.settings.channels)
        self.discriminator_slots = discriminator_slots(shapes, self.settings.resolution)
        self.discriminator_params = self.weights("D/", self.discriminator_slots)["params"]

    @property
    def w_avg(self) -> jax.Array:
        return self.input("G/mapping.w_avg")

    @property
    def c(self) -> jax.Array | None:
        return self.input("c") if self.settings.c_dim else None

    def input(self, name: str) -> jax.Array:
        return jnp.asarray(self.arrays[name], self.dtype)

    def images(self, name: str) -> jax.Array:
        return jnp.moveaxis(self.input(name), 1, -1)

    def run(self, function: Callable[["Recording", Any], Any], params: Any) -> Any:
        """function(this recording, params), compiled.

        Recorded inputs are arguments of the program: the compiler folds no constants, and discriminators of equal shape
        share a program.
        """

        def program(params: Any, inputs: Any, variables: Any, discriminator_params: Any) -> Any:
            golden = copy.copy(self)
            golden.arrays, golden.variables, golden.discriminator_params = inputs, variables, discriminator_params
            return function(golden, params)

        inputs = {name: self.input(name) for name in INPUTS if name in self.arrays}
        return compiled(program)(params, inputs, self.variables, self.discriminator_params)

    def weights(self, prefix: str, slots: Sequence[ArraySlot]) -> dict[str, Any]:
        """Recorded weights as our variables."""
        return jax.tree.map(lambda array: jnp.asarray(array, self.dtype), self.as_variables(prefix, slots))

    def as_variables(self, prefix: str, slots: Sequence[ArraySlot], collection: str | None = None) -> dict[str, Any]:
        """Recordings of a prefix (weights or gradients) in our layout."""
        tree: dict[str, Any] = {}
        for slot in slots:
            if collection not in (None, slot.path[0]):
                continue
            place = tree
            for key in slot.path[:-1]:
                place = place.setdefault(key, {})
            place[slot.path[-1]] = rearranged(self.arrays[prefix + slot.official_name], slot.from_official)
        return tree

    def mapping(self, params: Any) -> jax.Array:
        """ws of the recorded z and c."""
        variables = {**self.variables, "params": params}

        def one(z: jax.Array, c: jax.Array | None) -> Any:
            return self.network.apply(variables, z, c, method="mapping")

        return jax.vmap(one)(self.input("z"), self.c)

    def synthesis(self, params: Any, ws: jax.Array, noise_mode: NoiseMode = "const", keep: bool = False) -> Any:
        """Images of ws; with `keep`, also the activations of all modules."""
        variables = {**self.variables, "params": params}
        view = self.settings.native_viewport

        def one(codes: jax.Array) -> Any:
            modulation = self.network.apply(variables, codes, method="modulation")
            options = {"capture_intermediates": True, "mutable": ["intermediates"]} if keep else {}
            return self.network.apply(variables, modulation, view, noise_mode, method="render", **options)

        return jax.vmap(one)(ws)

    def score(self, params: Any, images: jax.Array, c: jax.Array | None) -> Any:
        return self.discriminator.apply({"params": params}, images, c)


@functools.cache
def noise_floors(variant: str) -> dict[str, float]:
    """How far the official code's own float32 results lie from float64, of each tensor's maximum."""
    return load_json("fp32_noise_floor.json")[variant]


def float32_bar(noise_floor: float) -> float:
    """How far float32 may lie from float64, of the largest entry.

    Four times what the official code shows on the processor that recorded it, and not less than the rounding of a value
    that a thousand operations led to, about 15 layers of 64 terms: errors of either sign add up to their root.
    """
    return max(4 * noise_floor, 32 * float(np.finfo(np.float32).eps))
