"""
Draws the guides' pictures of a drill's report and of a remediation's record, from a real run.

    steersman drill run latency-surge --json report.json
    steersman remediation show ID --json > record.json
    python docs/pictures/draw.py report.json record.json      writes drill-report.png and remediation-record.png here

Needs playwright (in constraints-dev.txt) and a Chromium: the one of `CHROMIUM`, by default Debian's.
The record that is committed has gone through a quantizer (128 colours), which makes it a third as large.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

from remediation.drills.page import html
from remediation.drills.report import Report
from steersman.cli.incident_report import report as told

HERE = Path(__file__).parent
REPORT_SIZE = {"width": 1080, "height": 1316}  # the verdict, the grades and the first three charts
COLUMNS = 124  # of the terminal that the record is shown in
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body{margin:0;padding:26px;background:#eef0f3;width:max-content}
main{background:#14181f;color:#dfe5ec;border-radius:12px;padding:20px 26px}
pre{margin:0;font:13.5px/1.5 "DejaVu Sans Mono",monospace}
</style><main><pre>{code}</pre></main>"""


def record_page(record: dict[str, object]) -> str:
    """What `steersman remediation show` prints, in a terminal; headings stand out, queries stand back."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text(f"$ steersman remediation show {record['id']}", style="#7fd1a0"))
    queries = False
    for line in told(record):
        heading = bool(line) and not line.startswith(" ")
        queries = queries or line.startswith("Queries")
        look = "bold #8fb8ff" if heading else "#8d99a8" if queries else ""
        hanging = " " * (len(line) - len(line.lstrip()) + 2)
        wrapped = Text(line, style=look).wrap(console, COLUMNS - len(hanging))
        for row, part in enumerate(wrapped):
            console.print(Text(hanging if row else "").append_text(part))
    return console.export_html(
        inline_styles=True, code_format=TERMINAL.replace("{", "{{").replace("}", "}}").replace("{{code}}", "{code}")
    )


def main(report_file: str, record_file: str) -> None:
    pages = {
        "drill-report": (html(Report.model_validate_json(Path(report_file).read_text())), REPORT_SIZE),
        "remediation-record": (record_page(json.loads(Path(record_file).read_text())), None),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        for name, (markup, size) in pages.items():
            page = browser.new_page(viewport=size or {"width": 1300, "height": 900}, color_scheme="light")
            page.set_content(markup)
            shown = page if size else page.locator("body")
            shown.screenshot(path=HERE / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
