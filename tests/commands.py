"""Commands of arf, called in this process."""

from __future__ import annotations

from arf import cli


def run(capsys, *arguments) -> tuple[int, str, str]:
    """Exit code, output and error output."""
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments) -> str:
    """The one line that says why a command was refused."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("arf: ")
    assert err.count("\n") == 1
    return err
