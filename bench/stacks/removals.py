"""For each drill that ships, a capability that it proves, and how Steersman is without it."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.checkout import Edit

POLICIES = "policies/shop.yaml"
_STEP = "\n      maximum_step: 4\n      "
_HOME = "\n      to_minimum: true\n      give_up_after"


@dataclass(frozen=True, slots=True)
class Removal:
    drill: str
    capability: str
    edits: tuple[Edit, ...]
    says: str  # regular expression: stands in what the drill gives as its first reason


REMOVALS = (
    Removal(
        "latency-surge",
        "the policy that answers the alert",
        (Edit(POLICIES, '- alertname="HighRequestLatency"\n', '- alertname="NoSuchAlert"\n'),),
        '"catalog is scaled out" failed',
    ),
    Removal(
        "flash-crowd",
        "sizing by the load: one replica is added, as most tools do",
        (
            Edit(POLICIES, "maximum_step: 4    # most", "maximum_step: 1    # most"),
            Edit(POLICIES, "raises: 2          #", "raises: 0          #"),
        ),
        '"p99 is back under the threshold" failed|the worker has given up',
    ),
    Removal(
        "flapping-load",
        "damping: it scales in at the first calm moment",
        (
            Edit(POLICIES, f"stabilisation: 10s{_STEP}settle: 5s{_HOME}", f"stabilisation: 0s{_STEP}settle: 0s{_HOME}"),
            Edit(POLICIES, "cooldown: 30s              #", "cooldown: 0s               #"),
        ),
        "not scaled out with each swing|more actions than that|the replicas return|oscillates without end",
    ),
    Removal(
        "slow-dependency",
        "verification: whatever was done is taken to have helped",
        (Edit(POLICIES, "alert_over: true   #", "alert_over: false\n          query: vector(1)   #"),),
        '"the worker escalates, with evidence" failed|the worker scales without end',
    ),
    Removal(
        "error-burst",
        "the history of what served well: no version is known to",
        (Edit(POLICIES, "[20s])) < 0.05", "[20s])) < -1"),),
        '"the worker rolls it back" failed|the worker has given up',
    ),
    Removal(
        "alert-storm",
        "one run for each target: each alert begins its own",
        (
            Edit(
                "remediation/store/arrivals.py", "at_work = self._active.setdefault(new.service, own)", "at_work = own"
            ),
            Edit("remediation/store/tables.py", "service,\n    unique=True,", "service,\n    unique=False,"),
        ),
        '"(catalog|checkout) has one remediation" failed|"a thousand alerts have arrived" failed',
    ),
    Removal(
        "replica-crash",
        "replacement of what died",
        (
            Edit(
                "steersman/orchestrator/plan.py",
                "i.phase is Phase.FAILED and i.retry_at_s <= now_s]",
                "i.phase is Phase.FAILED and i.retry_at_s + 3600 <= now_s]",
            ),
        ),
        '"another replica serves" failed',
    ),
    Removal(
        "replica-freeze",
        "health probes",
        (
            Edit(
                "steersman/orchestrator/fleet.py",
                'healthy = await answers_ok(replica.port, "/-/healthy", timeout_s=HEALTH_TIMEOUT_S)',
                "healthy = True",
            ),
        ),
        '"another replica serves" failed',
    ),
    Removal(
        "poisoned-message",
        "dead letters: what cannot be handled is tried again",
        (
            Edit(
                "demo_services/consumer.py",
                "await self._bury(message, headers, str(error))\n"
                "                span.set_status(Status(StatusCode.ERROR, str(error)))\n"
                '                outcome = "dead_lettered"',
                'await message.nak(delay=0.5)\n                outcome = "retried"',
            ),
        ),
        '"inventory puts it aside" failed',
    ),
    Removal(
        "queue-backlog",
        "the policy that adds consumers",
        (Edit(POLICIES, '- alertname="QueueBacklog"\n', '- alertname="NoSuchAlert"\n'),),
        '"consumers are added" failed',
    ),
    Removal(
        "collector-outage",
        "durable telemetry: each start of the collector begins with nothing",
        (
            Edit(
                "collector/__main__.py",
                "    raise SystemExit(main())",
                "    import os\n    import sys\n\n"
                '    place = sys.argv.index("--data-dir") + 1\n'
                "    sys.argv[place] = os.path.join(sys.argv[place], str(os.getpid()))\n"
                "    raise SystemExit(main())",
            ),
        ),
        '"what it had accepted is still there" failed',
    ),
    Removal(
        "worker-killed",
        "durable runs: each start of the worker begins with nothing",
        (
            Edit(
                "remediation/__main__.py",
                "        settings = Settings.from_environment(os.environ)",
                '        os.environ["REMEDIATION_DATA_DIR"] += f"/{os.getpid()}"\n'
                "        settings = Settings.from_environment(os.environ)",
            ),
        ),
        '"the replicas return" failed|"its run is closed" failed|"it is one run, not two" failed',
    ),
)
