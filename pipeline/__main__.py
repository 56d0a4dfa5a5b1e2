"""`python -m pipeline` is the command `text2lm` from a checkout."""

from pipeline.cli import entry

if __name__ == "__main__":
    entry()
