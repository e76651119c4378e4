"""What one visitor looks at on a dashboard; all of it is in the address, so that it can be sent to somebody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from dashboards.errors import PeerError
from dashboards.viewer.grafana.dashboard import Dashboard
from dashboards.viewer.grafana.interpolation import ALL
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.peers.prometheus import Prometheus
from dashboards.viewer.variables import choices, start_values, substituted


@dataclass(slots=True)
class State:
    dashboard: Dashboard
    start: str
    end: str
    refresh: str
    chosen: dict[str, list[str]] = field(default_factory=dict)
    offered: dict[str, list[str]] = field(default_factory=dict)

    def values(self) -> dict[str, list[str]]:
        return {
            variable.name: substituted(
                variable, self.chosen.get(variable.name, []), self.offered.get(variable.name, [])
            )
            for variable in self.dashboard.variables
        }

    def address(self) -> str:
        pairs = [("from", self.start), ("to", self.end), ("refresh", self.refresh)]
        pairs += [(f"var-{name}", value) for name, values in self.chosen.items() for value in values]
        return f"/d/{self.dashboard.uid}?{urlencode(pairs)}"

    async def offer(self, prometheus: Prometheus, span: Span) -> None:
        """Ask what each variable can be, in order: a later one may depend on an earlier one."""
        for variable in self.dashboard.variables:
            try:
                offered = await choices(variable, prometheus, self.values(), span)
            except PeerError:
                offered = list(variable.current)  # the panels will say what is wrong
            self.offered[variable.name] = offered
            if variable.name not in self.chosen:
                self.chosen[variable.name] = start_values(variable, offered)

    def repeats(self) -> dict[str, list[str]]:
        """What panels are repeated for: everything that is offered where All is chosen, not what stands for it."""
        return {name: self.offered.get(name, []) if ALL in chosen else chosen for name, chosen in self.chosen.items()}


def chosen_in(parameters: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The values of variables in an address: `var-NAME=VALUE`, once for each."""
    chosen: dict[str, list[str]] = {}
    for name, value in parameters:
        if name.startswith("var-"):
            chosen.setdefault(name.removeprefix("var-"), []).append(value)
    return chosen
