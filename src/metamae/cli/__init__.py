"""The command line: each command a thin face of a function in `metamae.uses`."""

from metamae.cli.app import main

__all__ = ["main"]
