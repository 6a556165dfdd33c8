"""The exceptions a user is meant to read."""


class UserError(Exception):
    """Something the user can put right: the message says what was wrong, where, and what to do.

    Command lines print it as one sentence and exit with ``status``; library callers catch it by type.
    """

    status = 2


class HostLost(UserError):
    """Another host of the run no longer answers; the same command on every host goes on from the last checkpoint."""

    status = 75  # EX_TEMPFAIL of sysexits.h: try again
