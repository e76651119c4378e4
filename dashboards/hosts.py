"""Processes: what each replica, and each part of the stack, takes of its machine."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from dashboards.shapes import THIRD, board, chart, choice, note, number, query, rows
from dashboards.shapes import latest as newest

UID = "steersman-hosts"
OF = 'job=~"$service"'
_NOTE = """\
These are the processes that export `process_*`: the shop's replicas, the gateway, the collector and the worker. The
embedded stack measures no host: processors, memory, disks and network of the machine itself are collected by the
OpenTelemetry Collector of `compose.yaml` (its `hostmetrics` receiver). The supervisor, NATS, the load generator and
the viewer export no process metrics; `steersman status` shows what they take.
"""


def dashboard() -> grafana.Dashboard:
    """The builder; `.build()` gives the model."""
    cpu = f"rate(process_cpu_seconds_total{{{OF}}}[30s])"
    memory = f"process_resident_memory_bytes{{{OF}}}"
    files = f"process_open_fds{{{OF}}} / process_max_fds{{{OF}}}"
    return (
        board(UID, "Hosts and processes", "What each process takes: processor time, memory, open files.")
        .with_variable(choice("service", "Process", "label_values(process_resident_memory_bytes, job)", several=True))
        .with_panel(
            number("Processors", "Processors that all of them keep busy.", "none", f"sum({cpu})", (None, "blue"))
        )
        .with_panel(number("Memory", "Resident memory of all of them.", "bytes", f"sum({memory})", (None, "blue")))
        .with_panel(number("Processes", "Processes that are measured.", "none", f"count({memory})", (None, "blue")))
        .with_panel(
            number(
                "Fullest file table",
                "Of the process with most open files: the share of what it may open.",
                "percentunit",
                f"max({files})",
                (None, "green"),
                (0.5, "orange"),
                (0.8, "red"),
            )
        )
        .with_panel(
            chart("Processor time", "Processors that each process keeps busy.", "none", query(cpu, "{{instance}}"))
        )
        .with_panel(chart("Memory", "Resident memory of each process.", "bytes", query(memory, "{{instance}}")))
        .with_panel(
            chart(
                "Open files",
                "Files and sockets that each process has open.",
                "none",
                query(f"process_open_fds{{{OF}}}", "{{instance}}"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Garbage collections",
                "Collections a second of Python's garbage collector; the oldest generation's are the dear ones.",
                "ops",
                query(
                    f"sum by (job, generation) (rate(python_gc_collections_total{{{OF}}}[1m]))",
                    "{{job}} {{generation}}",
                ),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Gateway: goroutines",
                "Goroutines and threads of Traefik, which is written in Go.",
                "none",
                query("go_goroutines", "goroutines"),
                query("go_threads", "threads"),
                width=THIRD,
            )
        )
        .with_panel(
            rows(
                "Processes",
                "Each process now.",
                {
                    "instance": ("Process", "string"),
                    "Value #A": ("Processors", "none"),
                    "Value #B": ("Memory", "bytes"),
                    "Value #C": ("Open files", "none"),
                    "Value #D": ("Running for", "s"),
                },
                newest(f"sum by (instance) ({cpu})", "A"),
                newest(f"sum by (instance) ({memory})", "B"),
                newest(f"sum by (instance) (process_open_fds{{{OF}}})", "C"),
                newest(f"time() - sum by (instance) (process_start_time_seconds{{{OF}}})", "D"),
            ).height(12)
        )
        .with_panel(note("What is measured, and what is not", _NOTE))
    )
