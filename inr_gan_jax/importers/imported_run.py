"""An official checkpoint as a run folder of ours: configuration, checkpoint, and where it came from."""

import json
from pathlib import Path
from typing import Any

from inr_gan_jax.checkpoint.manager import save_entries
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.safe_pickle import OfficialCheckpoint
from inr_gan_jax.importers.torch_inr_gan import ImportedDiscriminator, ImportedGenerator
from inr_gan_jax.models.build import discriminator_section, release_section
from inr_gan_jax.storage import unused_name

_SOURCE_FILE = "source.json"
# How the official code trains; a checkpoint does not say more, so these are its published defaults (25,000 kimg in
# batches of 64, lazy R1 of weight 10, EMA of 20 kimg).
_OFFICIAL_TRAINING: dict[str, Any] = {
    "loss": {"r1_gamma": 10.0, "r1_interval": 16, "pl_interval": 4},
    "optimizer": {
        "class_embedding_lr": 0.0025,
        "mapping_lr": 0.0025,
        "connector_lr": 0.0025,
        "inr_lr": 0.0025,
        "discriminator_lr": 0.0025,
        "beta1": 0.0,
        "beta2": 0.99,
        "epsilon": 1e-8,
        "decay_kimg": 0.0,
        "final_lr_fraction": 1.0,
    },
    "training": {
        "batch_size": 64,
        "total_kimg": 25000.0,
        "ema_kimg": 20.0,
        "ema_rampup": 0.05,
        "log_kimg": 4.0,
        "sample_kimg": 100.0,
        "sample_grid": (4, 8),
        "evaluate_kimg": 0.0,
        "checkpoint_kimg": 100.0,
        "keep_checkpoints": 3,
        "generator_first": True,
    },
    "evaluation": {"metric": "none", "num_samples": 10000, "batch_size": 64},
}


def imported_config(
    checkpoint: OfficialCheckpoint, generator: ImportedGenerator, discriminator: ImportedDiscriminator
) -> Config:
    """The configuration of an imported run.

    Raises:
        UserError: if the networks of the checkpoint do not fit each other.
    """
    settings = generator.settings
    data = {
        "name": checkpoint.path.stem,
        "split": "train",
        "data_dir": "",
        "height": settings.resolution,
        "width": settings.resolution,
        "channels": settings.channels,
        "num_classes": settings.c_dim,
        "x_flip": True,
        "num_threads": 4,
        "prefetch": 4,
    }
    return parse_config(
        {
            "name": checkpoint.path.stem,
            "seed": 0,
            "one_cpu_thread": False,
            "num_devices": 0,
            "compilation_cache_dir": "",
            "model": "release",
            "data": data,
            "paper": None,
            "release": release_section(settings),
            "discriminator": discriminator_section(discriminator.network),
            **_OFFICIAL_TRAINING,
        }
    )


def check_output(output: Path) -> None:
    """Checks that a run folder can be created there.

    Raises:
        UserError: if something is there already.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output {output} exists already, expected a new folder")


def write_imported_run(
    output: Path,
    checkpoint: OfficialCheckpoint,
    averaged: ImportedGenerator,
    trained: ImportedGenerator,
    discriminator: ImportedDiscriminator,
) -> None:
    """Writes the run folder atomically.

    Args:
        output: folder to create.
        checkpoint: as read.
        averaged: the averaged generator (`G_ema`).
        trained: the generator as trained (`G`).
        discriminator: `D`.

    Raises:
        UserError: if the folder holds something already or cannot be written.
    """
    check_output(output)
    config = imported_config(checkpoint, averaged, discriminator)
    source = {
        "file": checkpoint.path.name,
        "sha256": checkpoint.sha256,
        "augment_p": checkpoint.augment_p,
        "training_set": {key: str(value) for key, value in checkpoint.training_set_kwargs.items()},
    }
    entries = {
        "ema_params": averaged.params,
        "constants": averaged.constants,
        "w_avg": averaged.w_avg,
        "generator_params": trained.params,
        "discriminator_params": discriminator.params,
    }
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = unused_name(output)
        partial.mkdir()
        (partial / "config.json").write_text(config.to_json())
        (partial / _SOURCE_FILE).write_text(json.dumps(source, indent=2) + "\n")
        save_entries(partial / "checkpoints", 0, entries)
        if output.exists():
            output.rmdir()
        partial.rename(output)
    except OSError as error:
        raise UserError(f"output {output} cannot be written ({error.strerror})") from error
