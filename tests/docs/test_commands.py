"""
Every command that README.md and docs/*.md show does what it says: it is run as it stands, on the running stack.

What cannot be run is in `NOT_RUN`, with the reason, and must be something that its program would take.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer.main
from doc_commands import Command, ShownFile, read
from typer.core import TyperGroup
from typer.exceptions import TyperException

from embedded_stack import Stack, eventually
from steersman.cli import app, main
from steersman.runtime.ports import Ports

TOP = Path(__file__).parents[2]
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]

OWN_STACK = "starts a stack; tests/e2e runs on one that was started so"
ENDS = "ends the stack; every test that starts one ends it"
CI_ITSELF = "CI runs it"
DOCKER = "needs Docker; tests/deploy builds the image on another engine"
CLUSTER = "needs a cluster; tests/deploy/test_kubernetes.py renders and checks what is applied"
SERVES = "serves until it is told to stop; tests/collector/test_app.py and test_agent.py start it"
DRILLED = "takes minutes; tests/e2e/test_drills_live.py runs it"
# The first that matches counts.
NOT_RUN = {
    r"make (demo|test)\b.*": CI_ITSELF,
    r"make up|steersman up\b.*": OWN_STACK,
    r"make compose-(up|down)|docker (build|compose) .*": DOCKER,
    r"kubectl (create|apply|port-forward) .*": CLUSTER,
    r"steersman down": ENDS,
    r"steersman collector .*": SERVES,
    r"steersman drill run (?!.*--dry-run).*": DRILLED,
    r"steersman rules test rules/tests/.*": "takes long; tests/rules/test_shipped_rules.py does it",
    r"steersman logs .*-f": "does not end",
    r"steersman rules backtest FILE… .*": "says what may be given; not a command",
    r"apt-get .*": "needs root and changes the machine; CI does it where they are absent",
    r"duckdb .*": "DuckDB's own program is not installed with us; tests/collector/api/test_archive.py reads the files",
}
# Other exit codes than 0 that are an answer too.
ANSWERS = {
    r"steersman drill report.*": (2, "no drill was run yet, when this file's tests run alone"),
    r"steersman drill run .*--dry-run": (1, "it would not start now: what tests did before is not over"),
    r"steersman rules check rules/.*": (3, "lint: nothing has failed yet, so no series has the status 5.."),
}


def reason_not_to_run(command: Command) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, command.text)), None)


def shown(path: Path) -> tuple[list[Command], list[ShownFile]]:
    return read(path, TOP)


ALL = {path: shown(path) for path in DOCUMENTS}
WITH_COMMANDS = [path for path, (commands, _) in ALL.items() if any(reason_not_to_run(one) is None for one in commands)]


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


def test_every_document_is_looked_at():
    found = [command for commands, _ in ALL.values() for command in commands]
    assert len(found) > 60
    assert {"README.md", "docs/own-service.md", "docs/operations.md", "docs/traces.md"} <= {
        one.document for one in found
    }


def test_every_exception_is_of_use():
    texts = [command.text for commands, _ in ALL.values() for command in commands]
    for pattern in [*NOT_RUN, *ANSWERS]:
        assert any(re.fullmatch(pattern, text) for text in texts), f"no document shows {pattern}"


def usage_error(words: Sequence[str]) -> str | None:
    """What the command line would say of these arguments, without doing anything."""
    from collector.agent import _arguments as agent_arguments
    from collector.app import _arguments as collector_arguments
    from collector.rules.cli import app as rules
    from remediation.drills.cli import app as drills

    first, *rest = words
    if first == "collector":
        parser = agent_arguments() if "--forward" in rest else collector_arguments()
        try:
            parser.parse_args(rest)
        except SystemExit:
            return f"{parser.format_usage()} does not take {rest}"
        return None
    handed_over = {"rules": rules, "drill": drills}
    command = typer.main.get_command(handed_over.get(first, app))
    if first in handed_over:
        words = rest
    try:
        while isinstance(command, TyperGroup):
            context = command.make_context("steersman", list(words))
            _, found, words = command.resolve_command(context, [*context._protected_args, *context.args])
            assert found is not None
            command = found
        command.make_context("steersman", list(words))
    except TyperException as error:
        return str(error)
    return None


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_what_is_not_run_would_be_taken_by_its_program(path: Path):
    for command in ALL[path][0]:
        words = shlex.split(command.text)
        words = words[: words.index(">")] if ">" in words else words
        if words[0] == "steersman" and "FILE…" not in words:
            assert usage_error(words[1:]) is None, command
        if words[0] == "make":
            ran = subprocess.run(["make", "-n", *words[1:]], cwd=TOP, capture_output=True, timeout=30, check=False)
            assert ran.returncode == 0, command


@pytest.mark.parametrize(
    "words", [["drill", "run"], ["scale", "catalog"], ["traces", "--sloww", "1s"], ["rules", "chek"]]
)
def test_a_command_that_is_wrong_would_be_found(words):
    assert usage_error(words) is not None


class Reader:
    """Someone who follows a document in a folder of his own beside a checkout, with the stack running."""

    def __init__(
        self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self._stack, self._folder, self._capfd = stack, folder, capfd
        monkeypatch.chdir(folder)
        for part in ("rules", "policies", "drills", "deploy"):
            (folder / part).symlink_to(TOP / part)
        (folder / ".steersman").symlink_to(stack.data.root)
        monkeypatch.setenv("STEERSMAN_DATA_DIR", str(stack.data.root))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("NO_COLOR", "1")
        self._monkeypatch = monkeypatch

    def save(self, file: ShownFile) -> None:
        path = self._folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(file.text))

    def run(self, command: Command) -> None:
        text = self._here(command.text)
        words = [found for word in shlex.split(text) for found in self._expanded(word)]
        if "export" in words[:2]:  # a document shows several ways to write the same folder; each wants it new
            shutil.rmtree(self._folder / words[words.index("--out") + 1], ignore_errors=True)
        if words[0] == "steersman":
            code = self._steersman(words)
        else:
            code = subprocess.run(["bash", "-ec", text], timeout=60, check=False).returncode
        out, err = self._capfd.readouterr()
        also, _ = next((one for pattern, one in ANSWERS.items() if re.fullmatch(pattern, command.text)), (0, ""))
        assert code in (0, also), f"{command}\nran as: {text}\n{out[-2000:]}{err[-2000:]}"

    def _steersman(self, words: list[str]) -> int:
        """In this process: starting Python for each would take longer than all they do."""
        environment = dict(os.environ)
        self._monkeypatch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            os.environ.clear()
            os.environ.update(environment)

    def _expanded(self, word: str) -> list[str]:
        return sorted(str(path) for path in Path().glob(word)) if "*" in word and " " not in word else [word]

    def _here(self, text: str) -> str:
        """As it would be on ports, paths and ids of this stack."""
        for field in Ports.__slots__:
            standard, own = getattr(Ports(), field), getattr(self._stack.ports, field)
            text = re.sub(rf"(?<=127\.0\.0\.1:){standard}\b", str(own), text)
        text = text.replace("rules/mine.yml", "mine.yml")  # of a checkout that others read too
        text = text.replace("/path/to/data", str(self._stack.data.root))
        text = text.replace("/path/to/collector.token", str(self._stack.data.token_file("collector")))
        text = text.replace("/run/secrets/", f"{self._folder}/")
        text = text.replace("http.yml", str(self._folder / "http.yml")) if text.startswith("amtool") else text
        if "4bf92f3577b34da6a3ce929d0e0e4736" in text:
            text = text.replace("4bf92f3577b34da6a3ce929d0e0e4736", self._trace())
        if text.endswith(" ID"):
            text = text.removesuffix("ID") + self._remediation()
        return text

    def _trace(self) -> str:
        found = self._stack.http.get(
            self._stack.url("jaeger", "/api/traces"), params={"service": "checkout", "limit": 1}
        )
        return str(found.json()["data"][0]["traceID"])

    def _remediation(self) -> str:
        """The newest; one is begun if there is none yet. Scaling to what the load wants changes nothing."""
        asked = {"service": "cart", "policy": "scale-out-on-latency", "reason": "a reader's", "by": "tests"}
        asked |= {"labels": {"alertname": "HighRequestLatency", "service": "cart", "severity": "critical"}}  # type: ignore[dict-item]
        if not self._stack.remediations():
            url, token = self._stack.url("remediation", "/api/v1/remediations"), self._stack.bearer("remediation")
            self._stack.http.post(url, json=asked, headers=token).raise_for_status()
        return str(eventually(self._stack.remediations, within_s=20, what="a remediation")[0]["id"])


@pytest.mark.e2e
@pytest.mark.parametrize("path", WITH_COMMANDS, ids=name)
def test_the_commands_of_a_document_run(
    path: Path, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    reader = Reader(stack, tmp_path, monkeypatch, capfd)
    commands, files = ALL[path]
    for file in files:
        reader.save(file)
    try:
        for command in commands:
            if reason_not_to_run(command) is None:
                if re.search(r"trace 3\b", command.text):  # a number is that of the last list
                    reader.run(Command(command.document, command.line, "steersman traces"))
                reader.run(command)
    finally:
        scaled = [words[2] for one in commands if (words := one.text.split())[:2] == ["steersman", "scale"]]
        for service in scaled:
            assert stack.cli("scale", service, "1").returncode == 0


def test_the_configuration_files_that_documents_show_are_taken(tmp_path):
    from collector.config import load

    shown_files = {file.name: file.text for _, files in ALL.values() for file in files}
    for name in ("own.yml", "retention.yml"):
        (tmp_path / name).write_text(shown_files[name])
        load(tmp_path / name)
