"""The one error that a user is meant to read."""


class UserError(Exception):
    """Bad input, said in one line: what is wrong, where, and what to do. The CLI prints it and exits 2."""
