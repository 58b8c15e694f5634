"""What a run says at its end: where everything is, and what to do next."""

import shlex

from etils import epath

from inr_gan_jax.config.schema import Config
from inr_gan_jax.metrics.pixel_fd import MAX_PIXELS
from inr_gan_jax.metrics.protocols import PIXEL_FD
from inr_gan_jax.storage import is_remote
from inr_gan_jax.training.run_folder import CHECKPOINTS, SAMPLES


def closing_words(workdir: epath.Path, config: Config, kimg: float) -> str:
    """Lines that name the samples, the numbers and the checkpoints of a finished run, and the next commands.

    Args:
        workdir: run folder, as the user gave it.
        config: of the run.
        kimg: thousands of images shown.
    """
    lines = [
        f"finished at {kimg:.1f} kimg, in {workdir}:",
        f"  {SAMPLES + '/':<14} sample grids",
        f"  {'metrics.jsonl':<14} numbers; also in tensorboard/",
        f"  {CHECKPOINTS + '/':<14} networks; a larger --config.training.total_kimg resumes from the newest",
    ]
    folder = shlex.quote(str(workdir))
    if is_remote(workdir):
        folder = "COPY"
        lines.append(f"next, with {workdir} copied to a folder COPY:")
    else:
        lines.append("next:")
    lines.append(f"  python -m inr_gan_jax.tools.gallery --workdir={folder}")
    data = config.data
    if config.evaluation.metric == "none" and data.height * data.width * data.channels <= MAX_PIXELS:
        lines.append(f"  python -m inr_gan_jax.evaluate --workdir={folder} --metrics={PIXEL_FD}")
    return "\n".join(lines)
