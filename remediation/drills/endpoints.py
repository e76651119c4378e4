"""Where the stack is, as the environment says, and the tokens that open it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from remediation.drills.errors import StackUnreachableError
from steersman.runtime.paths import DEFAULT_DATA_DIR, DataDir
from steersman.runtime.ports import Ports
from steersman.runtime.tokens import read_token

_DEFAULTS = Ports()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """
    Base URLs, without a slash at the end. Where nothing is `supervised` by an orchestrator, replicas are containers:
    the worker tells of them, and a drill can do to them only what `reach.py` has.
    """

    data_dir: DataDir
    supervised: bool = True
    prometheus: str = f"http://127.0.0.1:{_DEFAULTS.prometheus}"
    remediation: str = f"http://127.0.0.1:{_DEFAULTS.remediation}"
    orchestrator: str = f"http://127.0.0.1:{_DEFAULTS.orchestrator}"
    load: str = f"http://127.0.0.1:{_DEFAULTS.load}"
    mesh: str = f"http://127.0.0.1:{_DEFAULTS.mesh}"
    jaeger: str = f"http://127.0.0.1:{_DEFAULTS.jaeger}"
    dashboards: str = f"http://127.0.0.1:{_DEFAULTS.dashboards}"
    nats: str = f"nats://127.0.0.1:{_DEFAULTS.nats}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Endpoints:
        """
        From STEERSMAN_DATA_DIR, STEERSMAN_SUPERVISED (yes, no) and STEERSMAN_<PART>_URL; what is not set is at its
        standard port.
        """
        parts = ("prometheus", "remediation", "orchestrator", "load", "mesh", "jaeger", "dashboards", "nats")
        urls = {part: environment.get(variable(part), "").rstrip("/") for part in parts}
        root = environment.get("STEERSMAN_DATA_DIR") or DEFAULT_DATA_DIR
        return cls(
            data_dir=DataDir.at(Path(root)),
            supervised=environment.get("STEERSMAN_SUPERVISED", "yes") != "no",
            **{part: url for part, url in urls.items() if url},
        )

    @classmethod
    def of_compose(cls, environment: Mapping[str, str] = os.environ) -> Endpoints:
        """What `make compose-up` starts: at the standard ports, its secrets and reports in `compose` of the data."""
        root = Path(environment.get("STEERSMAN_DATA_DIR") or DEFAULT_DATA_DIR)
        return cls(data_dir=DataDir.at(root / "compose"), supervised=False)

    @property
    def hint(self) -> str:
        """What to look at when a part does not answer."""
        return "is `steersman up` running" if self.supervised else "is what `make compose-up` starts running"

    def token(self, audience: str) -> str:
        """
        Raises:
            StackUnreachableError: there is no such token: the stack never ran with this data directory.
        """
        path = self.data_dir.token_file(audience)
        try:
            return read_token(path)
        except (OSError, ValueError) as error:
            raise StackUnreachableError(
                f"cannot read the token {path} ({error}); {self.hint}, and with this data directory?"
            ) from error


def variable(part: str) -> str:
    """The environment variable that says where a part is."""
    return f"STEERSMAN_{part.upper()}_URL"
