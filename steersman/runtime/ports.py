"""The ports of the stack: the field's habits, moved together by one offset so that two stacks run side by side."""

from __future__ import annotations

from dataclasses import dataclass, fields

HIGHEST_PORT = 65535
# Replicas listen on ports from here upwards: below Linux's ephemeral range (32768-60999), where an outgoing
# connection could otherwise hold the port that a new replica was promised.
REPLICA_PORT_BASE = 18100
REPLICA_PORT_COUNT = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    dashboards: int = 3000
    nats: int = 4222
    otlp_grpc: int = 4317
    otlp_http: int = 4318
    gateway: int = 8080  # the shop, for its customers
    mesh: int = 8081  # service to service, through the same Traefik
    traefik: int = 8082  # Traefik's ping, metrics and read-only API
    load: int = 8089
    nats_monitor: int = 8222
    prometheus: int = 9090
    collector: int = 9091  # the collector's own API, where a real Prometheus stands at 9090
    alertmanager: int = 9093
    remediation: int = 9095
    orchestrator: int = 9096
    jaeger: int = 16686
    replica_base: int = REPLICA_PORT_BASE  # the first of REPLICA_PORT_COUNT

    @classmethod
    def at(cls, offset: int) -> Ports:
        """
        All ports moved up by `offset`.

        Raises:
            ValueError: a port would be below 1 or above 65535.
        """
        moved = {field.name: getattr(cls(), field.name) + offset for field in fields(cls)}
        last = max(moved["replica_base"] + REPLICA_PORT_COUNT - 1, *moved.values())
        if min(moved.values()) < 1 or last > HIGHEST_PORT:
            raise ValueError(f"port offset {offset} moves a port outside 1..{HIGHEST_PORT} (highest would be {last})")
        return cls(**moved)
