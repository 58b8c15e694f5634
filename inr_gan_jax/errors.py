"""The error that stands for a user's mistake: shown as one sentence, never as a traceback."""


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says what was got and what is expected."""
