"""--dry_run --for_devices: checks that a job fits its machines before they are paid for.

Nothing is compiled: the step is traced on this machine, without its devices. The exact memory of a step is known only
after compilation, which takes minutes and, for TPUs, libtpu: `python -m inr_gan_jax.plan`.
"""

import dataclasses
import threading
from collections.abc import Callable

from etils import epath

from inr_gan_jax.config.schema import Config, DataConfig
from inr_gan_jax.data.read.dataset import check_available, data_location, is_embedded
from inr_gan_jax.errors import UserError
from inr_gan_jax.planning.dry_run import ACTIVATIONS, BATCH, abstract_step, memory_rows, num_parameters, plan_rows
from inr_gan_jax.remote_paths import UnreachableError
from inr_gan_jax.storage import is_remote
from inr_gan_jax.training.evaluation import check_metric, check_weights_named
from inr_gan_jax.training.phase_losses import load_perceptual
from inr_gan_jax.training.run_folder import check_data, check_run_folder
from inr_gan_jax.training.sharding import mesh_shape

# Without a network, libraries of buckets retry for many minutes.
_BUCKET_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Machines:
    """The machines of a job.

    Attributes:
        num_devices: of all processes together.
        num_processes: one per host of a TPU slice, one per GPU under Slurm.
        shares_disk: whether they see the folders of this machine; if not, they see buckets only.
    """

    num_devices: int
    num_processes: int = 1
    shares_disk: bool = True

    def check(self) -> None:
        """Checks that the devices divide evenly among the processes.

        Raises:
            UserError: if they do not.
        """
        if self.num_devices % self.num_processes:
            raise UserError(
                f"--for_devices is {self.num_devices}, expected a multiple of --for_processes={self.num_processes}"
            )


def check_job(config: Config, workdir: epath.Path, machines: Machines, seconds: float = _BUCKET_SECONDS) -> str:
    """Checks that a job fits its machines, and describes it.

    Args:
        config: of the run.
        workdir: its run folder.
        machines: of the job.
        seconds: that a bucket may take to answer.

    Returns:
        A few lines. A bucket that cannot be reached from here is reported as not checked.

    Raises:
        UserError: for the first mistake that would stop the job.
    """
    machines.check()
    count = _num_devices_in_use(config, machines)
    num_data, num_spatial = mesh_shape(count, config.training.batch_size, config.sharding)
    check_metric(config.evaluation)
    check_weights_named(config.evaluation)
    places = {
        "run folder": _check_workdir(config, workdir, machines, seconds),
        "data": _check_data(config.data, workdir, machines, seconds),
    }
    rows = {**_size_rows(config, count), **places, **_weights_row(config, machines), **plan_rows(config)}
    images = config.training.batch_size / num_data
    title = (
        f"{config.name} fits {count} {_plural('device', count)} of {machines.num_processes} "
        f"{_plural('process', machines.num_processes)}: {images:g} {_plural('image', images)} per "
        f"{'group of ' + str(num_spatial) + ' devices' if num_spatial > 1 else 'device'}"
    )
    return "\n".join([title, *(f"  {name:<14} {value}" for name, value in rows.items())])


def _plural(noun: str, count: float) -> str:
    return noun if count == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"


def _num_devices_in_use(config: Config, machines: Machines) -> int:
    wanted, there = config.num_devices, machines.num_devices
    if wanted > there:
        raise UserError(f"config.num_devices is {wanted}, expected at most {there}, the devices of the job")
    if wanted and wanted < there and machines.num_processes > 1:
        raise UserError(f"config.num_devices is {wanted}, expected 0 (all) with several processes")
    return wanted or there


def _size_rows(config: Config, num_devices: int) -> dict[str, str]:
    """Parameters and memory per device; tracing the step checks every shape."""
    features, _ = load_perceptual(config.loss)
    state, batch, step, _ = abstract_step(config, features)
    sizes = memory_rows(state, batch, step, features)
    per_device = sum(size / (num_devices if name in (ACTIVATIONS, BATCH) else 1) for name, size in sizes.items())
    part, rounds = config.training.batch_size // config.training.num_microbatches, config.training.num_microbatches
    num_data = num_devices // config.sharding.spatial
    rows = {
        "generator": f"{num_parameters(state.generator_params):,} parameters",
        "discriminator": f"{num_parameters(state.discriminator_params):,} parameters",
        "memory": f"about {per_device / 2**20:,.0f} MiB per device, before operations are fused",
    }
    if rounds > 1 and part % num_data:
        rows["microbatches"] = f"{rounds} of {part} images, which leave some of {num_devices} devices idle"
    return rows


def _weights_row(config: Config, machines: Machines) -> dict[str, str]:
    """Files of weights, which the other machines need on a disk of theirs."""
    named = [config.loss.vgg16_file if config.loss.perceptual_weight else "", config.evaluation.weights_file]
    files = ", ".join(filter(None, named))
    return {} if machines.shares_disk or not files else {"weights": f"{files}, needed at this path on every machine"}


def _check_workdir(config: Config, workdir: epath.Path, machines: Machines, seconds: float) -> str:
    if not is_remote(workdir):
        if not machines.shares_disk:
            raise UserError(
                f"workdir is {workdir}, which the machines of the job do not see; expected a folder in a bucket, such "
                "as gs://my-bucket/runs/church"
            )
        check_run_folder(workdir, config)
        return str(workdir)
    problem = _why_unreachable(lambda: check_run_folder(workdir, config), seconds)
    return f"{workdir}, not checked: {problem}" if problem else str(workdir)


def _check_data(config: DataConfig, workdir: epath.Path, machines: Machines, seconds: float) -> str:
    if is_embedded(config):
        return f"{config.name}, which the package brings"
    place = data_location(config.name, config.data_dir)
    if not is_remote(place):
        if not machines.shares_disk:
            raise UserError(
                f"data set {config.name!r} would be looked for in {place}, which the machines of the job do not see; "
                "copy the prepared set to a bucket and set config.data.data_dir, or DATA_DIR of the launcher, to "
                "gs://my-bucket/folder"
            )
        check_data(workdir, check_available(config), config.name)
        return str(place)
    problem = _why_unreachable(lambda: check_data(workdir, check_available(config), config.name), seconds)
    return f"{place}, not checked: {problem}" if problem else str(place)


def _why_unreachable(work: Callable[[], object], seconds: float) -> str | None:
    """Runs a check that may need a bucket.

    Args:
        work: raises UserError for a mistake, and anything else if the bucket cannot be read.
        seconds: that it may take.

    Returns:
        Why the bucket could not be read; None if it was.

    Raises:
        UserError: as `work` did.
    """
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
        except Exception as error:  # libraries of buckets raise kinds of their own
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not raised:
        return f"the bucket did not answer within {seconds:g} s"
    (error,) = raised
    if isinstance(error, UserError) and not isinstance(error, UnreachableError):
        raise error
    return None if error is None else (" ".join(str(error).split()) or type(error).__name__)[:300]
