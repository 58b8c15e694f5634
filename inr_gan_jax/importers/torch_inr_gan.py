"""Official INR-GAN checkpoints (CVPR 2021 code, PyTorch) to settings and variables of the `release` family.

    python -m inr_gan_jax.importers.torch_inr_gan churches.pkl --output=runs/churches --weights=churches.safetensors

Every array of the file is accounted for: each of our variables is filled by exactly one, none is left over except the
constant low-pass filters, and shapes agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from inr_gan_jax.cli.command import run
from inr_gan_jax.importers.byte_source import CheckpointFormatError, shown
from inr_gan_jax.importers.safe_pickle import NetworkSnapshot, OfficialCheckpoint, read_official_checkpoint

if TYPE_CHECKING:
    from inr_gan_jax.array_types import Params
    from inr_gan_jax.models.discriminator import Discriminator
    from inr_gan_jax.models.generator import Generator
    from inr_gan_jax.models.release.architecture import ReleaseArchitecture
    from inr_gan_jax.models.release.official_names import ArraySlot

_W_AVG = "mapping.w_avg"
_FILTER = "resample_filter"
_FILTER_VALUES = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


@dataclasses.dataclass(frozen=True)
class ImportedGenerator:
    """A generator as a checkpoint holds it.

    Attributes:
        settings: of the network.
        params: trained variables, NumPy arrays as stored.
        constants: fixed bases and stored noise; empty where there are none.
        w_avg: [w_dim], running mean of w.
    """

    settings: ReleaseArchitecture
    params: Params
    constants: Params
    w_avg: np.ndarray

    @property
    def generator(self) -> Generator:
        """The generator of these variables."""
        from inr_gan_jax.models.build import generator_of

        return generator_of(self.settings)

    @property
    def variables(self) -> dict[str, Params]:
        """As the methods of `Generator` take them."""
        return {"params": self.params, "constants": self.constants}


@dataclasses.dataclass(frozen=True)
class ImportedDiscriminator:
    """A discriminator as a checkpoint holds it.

    Attributes:
        network: the module, which carries its settings.
        params: trained variables, NumPy arrays as stored.
    """

    network: Discriminator
    params: Params


def import_generator(checkpoint: OfficialCheckpoint, name: str = "G_ema") -> ImportedGenerator:
    """Turns a generator of an official checkpoint into our settings and variables.

    Args:
        checkpoint: as `read_official_checkpoint` returns it.
        name: which network, `G_ema` (the averaged one, for pictures) or `G`.

    Raises:
        UserError: if the network is absent or of another kind, or an array is missing, unknown or of another shape.
    """
    from inr_gan_jax.importers.official_settings import generator_settings
    from inr_gan_jax.models.build import generator_of
    from inr_gan_jax.models.release.official_names import generator_slots

    snapshot = _snapshot(checkpoint, name, "Generator")
    settings = generator_settings(snapshot.init_kwargs)
    slots = generator_slots(generator_of(settings).variable_shapes)
    arrays = dict(snapshot.arrays)
    w_avg = arrays.pop(_W_AVG, None)
    if w_avg is None or w_avg.shape != (settings.w_dim,):
        found = "nothing" if w_avg is None else f"the shape {w_avg.shape}"
        raise CheckpointFormatError(f"{name} has {found} as {_W_AVG!r}, expected the shape {(settings.w_dim,)}")
    variables = _filled(slots, arrays, name)
    return ImportedGenerator(settings, variables.get("params", {}), variables.get("constants", {}), w_avg)


def import_discriminator(checkpoint: OfficialCheckpoint, name: str = "D") -> ImportedDiscriminator:
    """Turns the discriminator of an official checkpoint into our module and its parameters.

    Raises:
        UserError: if the network is absent or of another kind, or an array is missing, unknown or of another shape.
    """
    from inr_gan_jax.importers.official_settings import discriminator_network
    from inr_gan_jax.models.release.official_names import discriminator_slots

    snapshot = _snapshot(checkpoint, name, "Discriminator")
    network = discriminator_network(snapshot.init_kwargs)
    channels = snapshot.init_kwargs.get("img_channels", 3)
    slots = discriminator_slots(network.variable_shapes(channels), network.resolution[0])
    return ImportedDiscriminator(network, _filled(slots, snapshot.arrays, name)["params"])


def _snapshot(checkpoint: OfficialCheckpoint, name: str, class_name: str) -> NetworkSnapshot:
    snapshot = checkpoint.networks.get(name)
    if snapshot is None:
        present = ", ".join(sorted(checkpoint.networks)) or "no network"
        raise CheckpointFormatError(f"{checkpoint.path}: {name} was not read, only {present}")
    if snapshot.class_name != class_name:
        raise CheckpointFormatError(
            f"{checkpoint.path}: {name} is a {shown(snapshot.class_name)}, expected a {class_name}"
        )
    return snapshot


def _filled(slots: Sequence[ArraySlot], arrays: dict[str, np.ndarray], network: str) -> dict[str, Any]:
    """The nested variables, every slot filled from its array and every array used."""
    left = dict(arrays)
    variables: dict[str, Any] = {}
    for slot in slots:
        array = left.pop(slot.official_name, None)
        if array is None:
            raise CheckpointFormatError(f"{network} has no array {slot.official_name!r}")
        if array.shape != slot.official_shape:
            raise CheckpointFormatError(
                f"{network} has {slot.official_name!r} of shape {array.shape}, expected {slot.official_shape}"
            )
        place = variables
        for key in slot.path[:-1]:
            place = place.setdefault(key, {})
        place[slot.path[-1]] = slot.from_official(array)
    for name, array in left.items():
        if name.rpartition(".")[2] != _FILTER:
            raise CheckpointFormatError(
                f"{network} has the array {shown(name)!r}, which does not belong to the network of its settings"
            )
        if array.shape != (4, 4) or not np.allclose(array, _FILTER_VALUES):
            raise CheckpointFormatError(f"{network} has the low-pass filter {shown(name)!r}, expected [1, 3, 3, 1]")
    return variables


def main(arguments: Sequence[str]) -> None:
    """Entry point of the command."""
    # Imported here: it builds on this module.
    from inr_gan_jax.importers.imported_run import check_output, write_imported_run
    from inr_gan_jax.importers.weights_file import save_weights

    if flags.FLAGS.output:
        check_output(Path(flags.FLAGS.output).expanduser())
    checkpoint = read_official_checkpoint(arguments[1])
    averaged, trained = import_generator(checkpoint, "G_ema"), import_generator(checkpoint, "G")
    discriminator = import_discriminator(checkpoint)
    output, weights = flags.FLAGS.output, flags.FLAGS.weights
    if weights:
        variables = {**averaged.variables, "statistics": {"w_avg": averaged.w_avg}}
        save_weights(weights, averaged.settings, variables)
    if output:
        write_imported_run(Path(output).expanduser(), checkpoint, averaged, trained, discriminator)
    print(describe_variables("generator (G_ema)", averaged.variables))
    print(describe_variables("discriminator", {"params": discriminator.params}))
    print(f"source: {checkpoint.path}, sha256 {checkpoint.sha256}, augmentation p {checkpoint.augment_p}")
    for written in filter(None, (output, weights)):
        print(f"written: {written}")


def describe_variables(title: str, variables: Mapping[str, Any]) -> str:
    """A table of name and shape of every array, with the number of trained parameters."""
    import jax

    rows, num_params = [], 0
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        name = "/".join(str(entry.key) for entry in path)
        num_params += leaf.size if name.startswith("params/") else 0
        rows.append(f"  {name:<60} {tuple(leaf.shape)!s:>20}")
    return "\n".join([f"{title}: {num_params:,} parameters", *rows])


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "Run folder to write: configuration and checkpoint in our format.")
    flags.DEFINE_string("weights", None, "File to write the averaged generator to, .npz or .safetensors.")
    run(main, argument="the checkpoint file (such as churches.pkl)")
