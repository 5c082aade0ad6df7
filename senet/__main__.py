"""`python -m senet` is the `senet` program."""

from senet.cli.main import main

main()
