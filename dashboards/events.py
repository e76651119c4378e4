"""Event flow: orders and clicks on the bus, from the one who publishes to the one who handles."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from dashboards.shapes import HALF, WIDTH, board, chart, counted, note, number, or_quiet, query

UID = "steersman-events"
_NOTE = """\
What is counted here comes from those who publish and those who handle. The bus's own view of a queue, its depth and the
age of its oldest message, stands in the NATS monitor, `http://127.0.0.1:8222/jsz?consumers=1`; it exports no Prometheus
metrics. A dead letter is kept in the stream `DEAD_LETTERS` with the reason in its headers.
"""


def dashboard() -> grafana.Dashboard:
    """The builder; `.build()` gives the model."""
    handled = 'shop_messages_total{subject="order.placed",job="inventory"'
    waiting = (
        'clamp_min(round(sum(increase(shop_orders_total{outcome="placed"}[5m]))'
        f' - sum(increase({handled},outcome=~"processed|duplicate|dead_lettered"}}[5m]))), 0)'
    )
    retried = 'sum by (subject) (rate(shop_messages_total{outcome="retried"}[1m]))'
    dead = 'shop_messages_total{outcome="dead_lettered"}'
    buried = counted(dead, "subject", "5m")
    return (
        board(UID, "Event flow", "Orders and clicks on the bus: published, handled, delivered again, given up.")
        .with_panel(
            number(
                "Orders placed",
                "Orders a second that checkout placed, each an event on the bus.",
                "ops",
                'sum(rate(shop_orders_total{outcome="placed"}[1m]))',
                (None, "blue"),
            )
        )
        .with_panel(
            number(
                "Orders waiting",
                "Orders placed in the last five minutes that inventory has not handled yet: the depth of its queue.",
                "none",
                waiting,
                (None, "green"),
                (5, "orange"),
                (50, "red"),
            )
        )
        .with_panel(
            number(
                "Delivered again",
                "Messages a second whose handling failed and that were handed back for another try.",
                "ops",
                'sum(rate(shop_messages_total{outcome="retried"}[1m])) or vector(0)',
                (None, "green"),
                (0.1, "orange"),
                (1, "red"),
            )
        )
        .with_panel(
            number(
                "Dead letters",
                "Messages given up in the last hour, kept with their reason.",
                "none",
                f"{counted(dead, '', '1h')} or vector(0)",
                (None, "green"),
                (0.5, "red"),
            )
        )
        .with_panel(
            chart(
                "Orders by outcome",
                "Orders a second: placed, rejected (no stock, card declined), failed.",
                "ops",
                query("sum by (outcome) (rate(shop_orders_total[30s]))", "{{outcome}}"),
            )
        )
        .with_panel(
            chart(
                "Messages handled",
                "Messages a second, by who handles them and what became of them.",
                "ops",
                query(
                    "sum by (job, subject, outcome) (rate(shop_messages_total[30s]))",
                    "{{job}}: {{subject}} {{outcome}}",
                ),
            )
        )
        .with_panel(
            chart(
                "Published and handled",
                "Orders a second published and handled. A gap that stays is a queue that grows.",
                "ops",
                query('sum(rate(shop_orders_total{outcome="placed"}[30s]))', "published"),
                query(f"sum(rate({handled}}}[30s]))", "handled by inventory"),
                query(
                    'sum(rate(shop_messages_total{subject="order.placed",job="recommendation"}[30s]))',
                    "handled by recommendation",
                ),
            )
        )
        .with_panel(
            chart(
                "Waiting",
                "Orders of the last five minutes that inventory has not handled yet.",
                "none",
                query(waiting, "orders"),
            )
        )
        .with_panel(
            chart(
                "Delivered again, by subject",
                "Messages a second handed back for another try, with growing waits between the tries.",
                "ops",
                query(or_quiet(retried, "subject"), "{{subject}}"),
            )
        )
        .with_panel(
            chart(
                "Given up, by subject",
                "Messages that became dead letters in the last five minutes.",
                "none",
                query(or_quiet(buried, "subject"), "{{subject}}"),
            )
        )
        .with_panel(
            chart(
                "Charges and reservations",
                "What payment and inventory did, a second, by outcome.",
                "ops",
                query("sum by (outcome) (rate(shop_charges_total[30s]))", "{{outcome}}"),
                query("sum by (outcome) (rate(shop_reservations_total[30s]))", "{{outcome}}"),
                width=HALF,
            )
        )
        .with_panel(
            chart(
                "Cart conflicts",
                "Conditional writes of carts that came too late, a second.",
                "ops",
                query("sum(rate(shop_cart_conflicts_total[30s]))", "conflicts"),
                width=HALF,
            )
        )
        .with_panel(note("What is not measured here", _NOTE, width=WIDTH, height=3))
    )
