"""Errors that are meant for the person at the keyboard."""


class UserError(Exception):
    """A mistake the user can mend: the message says what is wrong, where, and what to do.

    The command line prints the message as one line and exits with code 2; nothing else is shown.
    """
