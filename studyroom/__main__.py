"""`python -m studyroom` is the `studyroom` command."""

from studyroom.services.stack.cli import main

if __name__ == "__main__":  # a process for long work loads this module too
    main()
