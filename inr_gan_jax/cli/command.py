"""Flags of the entry points, and how they end: a user's mistake in one sentence on stderr and exit code 2.

What is not the user's to mend, such as a full disk or a lost process, ends with a sentence and exit code 3.
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from inr_gan_jax.cli import config_file
from inr_gan_jax.config.parse import nearest
from inr_gan_jax.errors import MachineError, UserError
from inr_gan_jax.remote_paths import check_local

_USER_MISTAKE, _MACHINE_FAILED = 2, 3
_OVERRIDE_TOO_EARLY = "--{} overrides a key of the configuration, so it must stand behind --config=FILE"
_HELP_FLAGS = ("help", "helpshort", "helpfull", "helpxml", "?")


def run(
    main: Callable[[Sequence[str]], None],
    argument: str | None = None,
    when_stopped: str = "",
    may_be_remote: Sequence[str] = (),
    needs_argument: bool = True,
) -> None:
    """Parses flags, runs an entry point and turns errors into one sentence and an exit code.

    Args:
        main: gets the program's name, and the argument if there is one.
        argument: what the one argument without a flag is; None when there must be none.
        when_stopped: what to add to the line that Ctrl-C ends with.
        may_be_remote: names of the flags whose values may lie in a bucket.
        needs_argument: whether the argument without a flag must be given.
    """

    def guarded(arguments: Sequence[str]) -> None:
        if len(arguments) > 1 + (argument is not None):
            _fail(f"unexpected argument {arguments[-1]!r}; flags look like --name=value")
        if argument is not None and needs_argument and len(arguments) < 2:
            _fail(f"{argument} is missing; --help lists the flags")
        try:
            check_local({**_own_values(), argument or "argument": list(arguments[1:])}, may_be_remote)
            main(arguments)
        except UserError as error:
            _fail(str(error))
        except MachineError as error:
            _fail(str(error), _MACHINE_FAILED)
        except KeyboardInterrupt:
            print(f"\nstopped{when_stopped}", file=sys.stderr)
            _leave(130)
        except Exception:
            if not _is_among_several():
                raise
            traceback.print_exc()
            _leave(1)

    logging.set_verbosity(logging.ERROR)
    app.run(guarded, flags_parser=_parse_flags)


def define_config_flag() -> flags.FlagHolder:
    """Defines `--config=FILE[:ARGUMENT]`, whose keys can be overridden by `--config.section.key=value` behind it."""
    holder = config_flags.DEFINE_config_file(
        "config", None, "Configuration file, such as configs/digits.py.", lock_config=True
    )
    flags.mark_flag_as_required("config")
    return holder


def read_config(arguments: Sequence[str]) -> ConfigDict:
    """The configuration that another program would be given, read as that program reads it.

    Args:
        arguments: `--config=FILE[:ARGUMENT]` and overrides behind it.

    Raises:
        UserError: one sentence, as the other program would say it.
    """
    command_line = ["", *arguments]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, lock_config=True, flag_values=values, sys_argv=command_line)
    file = config_file.named_file(command_line)
    with config_file.importable(file), _mistakes_explained(command_line, values):
        values(command_line)
        config_file.check_loaded(values)
        return ConfigDict(values.config)


def set_cpu_threads(one_an_operation: bool) -> None:
    """Says how operations on a CPU share its cores; call it before JAX looks for devices.

    Args:
        one_an_operation: several operations run at once, each in one thread, which is faster for very small networks.
            Else one operation after the other takes all cores, and the order is chosen for least memory.
    """
    option = "multi_thread_eigen" if one_an_operation else "enable_concurrency_optimized_scheduler"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_{option}=false".strip()


def _fail(sentence: str, code: int = _USER_MISTAKE) -> None:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    _leave(code)


def _leave(code: int) -> None:
    """Ends the program; one process among several does not wait for the others, as JAX would, and then abort."""
    if _is_among_several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _is_among_several() -> bool:
    # Tools that need no JAX do not load it here.
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _parse_flags(arguments: Sequence[str]) -> list[str]:
    """Parses the command line."""
    try:
        with config_file.importable(config_file.named_file(arguments)), _mistakes_explained(arguments, flags.FLAGS):
            remaining = flags.FLAGS(arguments)
            if "config" in flags.FLAGS:
                config_file.check_loaded(flags.FLAGS)
            return remaining
    except UserError as error:
        _fail(str(error))
    except SystemExit:
        # The library ends with 1 after it has shown the help.
        if any(item.lstrip("-") in _HELP_FLAGS for item in arguments[1:]):
            sys.exit(0)
        raise
    raise AssertionError("unreachable: every path above returns or exits")


@contextlib.contextmanager
def _mistakes_explained(arguments: Sequence[str], values: flags.FlagValues) -> Iterator[None]:
    """Makes one sentence of what parsing raises, which may be anything: configuration files run meanwhile."""
    try:
        yield
    except flags.Error as error:
        raise UserError(_explain_flag_error(error, values)) from error
    except UserError:
        raise
    except Exception as error:  # whatever a configuration file raises is the user's to mend
        raise UserError(config_file.explain(error, arguments)) from error


def _explain_flag_error(error: flags.Error, values: flags.FlagValues) -> str:
    text = str(error)
    if isinstance(error, flags.UnrecognizedFlagError):
        return _explain_unknown_flag(error.flagname, values)
    too_early = re.match(r"Found --(\S+?)=.* before a value for --config", text, re.DOTALL)
    if too_early:
        return _OVERRIDE_TOO_EARLY.format(too_early.group(1))
    required = re.match(r"flag --(\w+)=None: .*must have a value", text)
    if required:
        return f"--{required.group(1)} is missing; --help lists the flags"
    if "Traceback" in text:
        # The configuration file itself raised; its own message is the last line.
        return text.strip().splitlines()[-1].split(": ", 1)[-1]
    wrong_type = re.match(r"flag --(\S+?)=(.*?): (.*)", text, re.DOTALL)
    if wrong_type:
        key, value, reason = wrong_type.groups()
        return f"{key} is {value!r}, which does not fit: {reason}"
    return text


def _explain_unknown_flag(name: str, values: flags.FlagValues) -> str:
    if name.startswith("config.") and "config" in values:
        return _OVERRIDE_TOO_EARLY.format(name)
    own = {f"--{known}" for known in own_flags(values)}
    return f"unknown flag --{name}; {nearest(f'--{name}', own)}; --help lists the flags"


def _own_values() -> dict[str, Any]:
    return {f"--{name}": value for name, value in own_flags(flags.FLAGS).items()}


def own_flags(values: flags.FlagValues) -> dict[str, Any]:
    """Names and values of the flags of the running command itself, without those of the libraries that it loads."""
    modules = values.flags_by_module_dict().items()
    own = (each for name, each in modules if name == sys.argv[0] or name.split(".")[0] in ("__main__", "inr_gan_jax"))
    return {flag.name: flag.value for each in own for flag in each}
