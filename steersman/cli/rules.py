"""`rules`: the collector's commands for writing rules, told where the running stack and the policies are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from steersman.cli.handover import take_data_dir
from steersman.runtime.paths import DataDir, shipped
from steersman.stack.settings import Urls
from steersman.stack.state import read_state


def run_rules(data_dir: Path, arguments: list[str]) -> None:
    given, arguments = take_data_dir(arguments)
    state = read_state(DataDir.at(given or data_dir))
    from collector.rules.cli import Surroundings, app

    around = Surroundings(
        url="" if state is None else Urls.of(state.ports).prometheus,
        policies=shipped("policies"),
        answers=answers,
    )
    app(args=arguments, prog_name="steersman rules", obj=around)


def answers(path: Path) -> Callable[[Mapping[str, str], bool], str | None]:
    """
    Which of these policies answers an alert: the first that matches, as in the worker.

    Raises:
        ValueError: the policies cannot be read; names the file.
    """
    from remediation.errors import PolicyError
    from remediation.policy.book import load_policies

    try:
        book = load_policies(path)
    except PolicyError as error:
        raise ValueError(str(error)) from error

    def answer(labels: Mapping[str, str], partial: bool) -> str | None:
        for policy in book.policies:
            matchers = [one for one in policy.matchers if not partial or one.name in labels]
            if all(one.matches(labels) for one in matchers):
                return str(policy.name)
        return None

    return answer
