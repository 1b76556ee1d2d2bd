"""`python -m metamae` is the command line."""

from metamae.cli import main

if __name__ == "__main__":
    main()
