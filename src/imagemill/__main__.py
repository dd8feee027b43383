"""`python -m imagemill` is the command line."""

from imagemill.cli import main

if __name__ == "__main__":
    main()
