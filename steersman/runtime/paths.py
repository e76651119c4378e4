"""Where things are: the data directory of one stack, and the files that ship with Steersman."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_DATA_DIR = Path(".steersman")
_PACKAGE = Path(__file__).resolve().parent.parent


def shipped(name: str) -> Path:
    """
    A file or folder that ships with Steersman: `rules`, `drills`, `policies`.

    In a checkout it stands at the top; in an installed wheel under `steersman/share`.

    Raises:
        FileNotFoundError: neither place has it.
    """
    for candidate in (_PACKAGE.parent / name, _PACKAGE / "share" / name):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{name!r} is neither in {_PACKAGE.parent} nor in {_PACKAGE / 'share'}")


@dataclass(frozen=True, slots=True)
class DataDir:
    """The state of one stack. `root` is absolute; nothing is created until `create`."""

    root: Path

    @classmethod
    def at(cls, root: Path) -> DataDir:
        return cls(root.expanduser().resolve())

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def run(self) -> Path:
        """Generated configuration and the supervisor's state file."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def drills(self) -> Path:
        """Drill reports, one JSON file a run."""
        return self.root / "drills"

    def part(self, name: str) -> Path:
        """The directory that one part owns, e.g. `collector`, `worker`, `nats`, `shop`."""
        return self.root / name

    def token_file(self, audience: str) -> Path:
        return self.secrets / f"{audience}.token"

    def create(self) -> None:
        for path in (self.root, self.secrets, self.run, self.logs, self.drills):
            path.mkdir(parents=True, exist_ok=True)
        self.secrets.chmod(0o700)
