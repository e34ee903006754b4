"""``archon-batch`` and ``python -m archon_batch``."""

from archon_batch.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
