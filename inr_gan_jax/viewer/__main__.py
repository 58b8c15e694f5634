"""An endless image in the browser: a page that shows any place of a continuous image at any density.

    python -m inr_gan_jax.viewer --checkpoint=runs/digits

Prints the URL to open. The server listens on this machine only, unless --host says otherwise; then requests need a
token, which the printed URL contains.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run, set_cpu_threads
from inr_gan_jax.cli.flags import define_checkpoint_flag, load_checkpoint
from inr_gan_jax.viewer import serving

_CACHE = "~/.cache/inr_gan_jax/xla"


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    import jax

    from inr_gan_jax.inference.viewports import check_continuous

    values = flags.FLAGS
    serving.check_available()
    with serving.open_socket(values.host, values.port) as listener:
        # The viewer has its own thread per core.
        set_cpu_threads(one_an_operation=True)
        loaded = load_checkpoint()
        # Programs are small and compiled before the first tile; the next start finds them in the cache.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
            jax.config.update("jax_compilation_cache_dir", str(Path(_CACHE).expanduser()))
        check_continuous(loaded, "an endless image")
        serving.serve(loaded, listener, values.host, values.token or None)


def define_flags() -> None:
    """Defines the flags of the command."""
    define_checkpoint_flag()
    flags.DEFINE_string("host", "127.0.0.1", "IP address to listen on; 0.0.0.0 for all interfaces.")
    define_integer("port", 8008, "Port to listen on; 0 for any free one.", 0, 65535)
    flags.DEFINE_string("token", "", "Required in requests; generated if --host is not the loopback.")


if __name__ == "__main__":
    define_flags()
    run(main, when_stopped=": the viewer")
