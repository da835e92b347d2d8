"""``pacsgrid completion``: completion of the command line by the shell."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "fish")


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid completion``."""
    parser.description = (
        "Prints a script that makes TAB complete sub-commands and options. "
        'bash and zsh: eval "$(pacsgrid completion bash)" in ~/.bashrc, or zsh in ~/.zshrc. '
        "fish: pacsgrid completion fish > ~/.config/fish/completions/pacsgrid.fish"
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run_completion(given: argparse.Namespace) -> int:
    """Print the script; returns 0."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["pacsgrid"], shell=given.shell))
    return 0
