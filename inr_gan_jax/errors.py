"""Errors that end a program with one sentence, never with a traceback."""


class UserError(Exception):
    """A mistake that the user can fix; the message is one sentence that says what was given and what is expected."""


class DatasetError(UserError):
    """A data set that is missing, unreadable, or not what the configuration says."""


class MachineError(Exception):
    """Storage, a device or another process failed; the message is one sentence. Starting the same command may help."""
