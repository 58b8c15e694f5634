"""The error that stands for a user's mistake: shown as one sentence, never as a traceback."""


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says what was got and what is expected."""


class MachineError(Exception):
    """Storage, a device or another process failed; the message is one sentence. Starting the same command may help."""
