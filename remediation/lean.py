"""
Imported first: keeps out of this process what it would carry around unused.

httpx imports its command line, and with it rich, pygments and click (3 MB), wherever these are installed; it works
without (httpx/__init__.py catches the ImportError).
"""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: an import of it fails
