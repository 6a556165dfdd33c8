"""The one exception a user is meant to read."""


class UserError(Exception):
    """Something the user can put right: the message says what was wrong, where, and what to do.

    Command lines print it as one sentence and exit with status 2; library callers catch it by type.
    """
