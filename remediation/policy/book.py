"""The policies in force: read from a file or a folder, asked for the first that matches an alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from remediation.errors import PolicyError
from remediation.policy.actions import AllowedCommand, Notifier
from remediation.policy.autoscaler import Autoscaler
from remediation.policy.limits import Limits
from remediation.policy.overlap import common_alert
from remediation.policy.policy import Policy, PolicyFile

MAX_FILE_BYTES = 1 << 20  # a thousand policies fit; a mistaken path to a log file does not


@dataclass(frozen=True, slots=True)
class PolicyBook:
    # By priority, the highest first; of equal ones files in the order of their names, policies as written.
    policies: tuple[Policy, ...]
    limits: Limits
    commands: Mapping[str, AllowedCommand]
    notifiers: Mapping[str, Notifier]
    autoscalers: tuple[Autoscaler, ...] = ()  # no two for one service

    def first_match(self, labels: Mapping[str, str]) -> Policy | None:
        return next((policy for policy in self.policies if policy.matches(labels)), None)

    def also_matching(self, labels: Mapping[str, str]) -> list[Policy]:
        """Those that match too, after the first."""
        return [policy for policy in self.policies if policy.matches(labels)][1:]


def load_policies(path: Path) -> PolicyBook:
    """
    Read one file, or every `*.yaml` and `*.yml` in a folder.

    Raises:
        PolicyError: nothing there, or something is wrong in it; the message names file and key.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    elif path.is_file():
        files = [path]
    else:
        raise PolicyError(f"{path}: no such file or folder")
    if not files:
        raise PolicyError(f"{path}: no *.yaml in it")
    seen: dict[str, Path] = {}
    policies: list[Policy] = []
    autoscalers: list[tuple[Path, Autoscaler]] = []
    limited: tuple[Path, Limits] | None = None
    commands: dict[str, AllowedCommand] = {}
    notifiers: dict[str, Notifier] = {}
    for file in files:
        read = _read(file)
        if read.limits is not None:
            if limited is not None:
                raise PolicyError(f"{file}: limits are also in {limited[0]}")
            limited = file, read.limits
        for kind, known, new in (
            ("command", commands, read.commands),
            ("notifier", notifiers, read.notifiers),
        ):
            if twice := known.keys() & new.keys():
                raise PolicyError(f"{file}: {kind} {min(twice)!r} is also in another file")
        commands |= read.commands
        notifiers |= read.notifiers
        autoscalers += [(file, one) for one in read.autoscalers]
        for policy in read.policies:
            if policy.name in seen:
                raise PolicyError(f"{file}: policy {policy.name!r} is also in {seen[policy.name]}")
            seen[policy.name] = file
            policies.append(policy)
    for policy in policies:
        _require_known(seen[policy.name], policy, commands, notifiers)
    _require_no_tie(policies, seen)
    _require_one_for_each_service(autoscalers)
    policies.sort(key=lambda policy: -policy.priority)  # stable
    limits = limited[1] if limited else Limits()
    return PolicyBook(tuple(policies), limits, commands, notifiers, tuple(one for _, one in autoscalers))


def _require_one_for_each_service(autoscalers: Sequence[tuple[Path, Autoscaler]]) -> None:
    names: dict[str, Path] = {}
    governed: dict[str, str] = {}
    for file, one in autoscalers:
        if one.name in names:
            raise PolicyError(f"{file}: autoscaler {one.name!r} is also in {names[one.name]}")
        names[one.name] = file
        for service in one.services:
            if service in governed:
                raise PolicyError(f"{file}: autoscalers {governed[service]!r} and {one.name!r} both scale {service!r}")
            governed[service] = one.name


def _require_no_tie(policies: Sequence[Policy], files: Mapping[str, Path]) -> None:
    for number, later in enumerate(policies):
        for former in policies[:number]:
            if former.priority != later.priority:
                continue
            alert = common_alert(former.matchers, later.matchers)
            if alert is not None:
                labels = ", ".join(f'{name}="{value}"' for name, value in sorted(alert.items()) if value)
                raise PolicyError(
                    f"{files[later.name]}: policies {former.name!r} and {later.name!r} both match {{{labels}}}; give "
                    f"one of them a priority, both have {later.priority}"
                )


def _require_known(
    file: Path, policy: Policy, commands: Mapping[str, AllowedCommand], notifiers: Mapping[str, Notifier]
) -> None:
    for step in policy.steps:
        where = f"{file}: policy {policy.name}, step {step.name!r}"
        if step.run is not None:
            command = commands.get(step.run.command)
            if command is None:
                raise PolicyError(f"{where}: no command {step.run.command!r} is allowed")
            if odd := step.run.arguments.keys() ^ command.arguments.keys():
                raise PolicyError(
                    f"{where}: arguments differ from those of {step.run.command!r}: {', '.join(sorted(odd))}"
                )
        if step.notify is not None and (unknown := set(step.notify.to) - notifiers.keys()):
            raise PolicyError(f"{where}: there is no notifier {min(unknown)!r}")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML forbids a key twice, PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read(file: Path) -> PolicyFile:
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise PolicyError(f"{file}: {size} bytes, the limit is {MAX_FILE_BYTES}")
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"{file}: {' '.join(str(error).split())}") from error
    try:
        return PolicyFile.model_validate(data)
    except ValidationError as error:
        raise PolicyError("\n".join(f"{file}: {_described(item, data)}" for item in error.errors())) from error


def _described(item: Any, data: Any) -> str:
    where = ""
    for part in item["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    name = _policy_name(item["loc"], data)
    got = repr(item.get("input"))
    return f"{where}{name}: {item['msg']}, got {got if len(got) <= 80 else got[:79] + '…'}"


def _policy_name(location: Any, data: Any) -> str:
    kinds = {"policies": "policy", "autoscalers": "autoscaler"}
    try:
        return f" ({kinds[location[0]]} {data[location[0]][location[1]]['name']})"
    except (KeyError, IndexError, TypeError):
        return ""
