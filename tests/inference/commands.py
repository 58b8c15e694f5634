"""Runs the command of a tool in this process."""

from types import ModuleType

from absl import flags


def run_command(module: ModuleType, *arguments: str) -> None:
    """Parses arguments by the tool's own flags and runs its `main`; the flags are gone afterwards."""
    before, was_parsed = set(flags.FLAGS), flags.FLAGS.is_parsed()
    try:
        module.define_flags()
        flags.FLAGS([module.__name__, *arguments])
        module.main([module.__name__])
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
        if was_parsed:
            flags.FLAGS.mark_as_parsed()
