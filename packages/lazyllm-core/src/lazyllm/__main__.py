"""`python -m lazyllm` is the `lazyllm` command."""

from .cli import main

main()
