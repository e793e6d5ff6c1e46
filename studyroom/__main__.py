"""`python -m studyroom` is the `studyroom` command."""

from studyroom.services.stack.cli import main

main()
