"""Say in one line why a process failed."""

from subprocess import CompletedProcess


def last_error_line(process: CompletedProcess[str]) -> str:
    """The last line that a process wrote to standard error, else its exit code."""
    lines = process.stderr.strip().splitlines()
    return lines[-1] if lines else f"it ended with {process.returncode}"
