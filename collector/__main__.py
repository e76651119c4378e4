"""`python -m collector`."""

import faulthandler

from collector.command import main

if __name__ == "__main__":
    faulthandler.enable()  # DuckDB, Arrow and ptars are native: a crash in one should say where
    raise SystemExit(main())
