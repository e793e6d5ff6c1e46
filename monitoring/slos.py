"""The objectives, their burn-rate alerts, and a PrometheusRule with all rules. `make dashboards` writes them.

The alerts follow chapter 5 of the SRE workbook. They fire if 2 % of the budget of 30 days burn in an hour (page), 5 %
in six hours (page), or 10 % in three days (ticket), while a short window shows that it still burns.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.panels import write_or_check

RULES = Path(__file__).parent / "rules"
KUBERNETES = Path(__file__).parents[1] / "k8s" / "monitoring" / "prometheus-rule.yaml"
GENERATED = "# Written by `make dashboards` from monitoring/{}.\n"
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True)
class Slo:
    """An objective: the share of good events. `good` and `total`: rates per second, with `{w}` for the window."""

    name: str
    promise: str
    objective: float
    good: str
    total: str

    def error_ratio(self, window: str) -> str:
        return f"1 - ({self.good}) / (({self.total}) > 0)".replace("{w}", window)


_ASKED = (
    "sum(rate(studyroom_gateway_connections_accepted_total[{w}]))"
    " + sum(rate(studyroom_gateway_join_duration_seconds_count[{w}]))"
    ' + (sum(rate(studyroom_gateway_messages_received_total{type="Chat"}[{w}])) or vector(0))'
)
# A code has no sample before its first error, hence `or vector(0)`.
_FAILED = (
    '(sum(rate(studyroom_gateway_errors_sent_total{code=~"presence_unavailable|chat_unavailable|chat_storage_full|internal"}[{w}]))'
    " or vector(0))"
    ' + (sum(rate(studyroom_gateway_handshakes_refused_total{code=~"too_many_connections|too_many_handshakes"}[{w}]))'
    " or vector(0))"
)

SLOS = (
    Slo(
        "join_latency",
        "99 % of joins are done within 500 ms, without those of full rooms",
        0.99,
        'sum(rate(studyroom_gateway_join_duration_seconds_bucket{result="joined",le="0.5"}[{w}]))',
        'sum(rate(studyroom_gateway_join_duration_seconds_count{result=~"joined|unavailable"}[{w}]))',
    ),
    Slo(
        "delivery_latency",
        "99 % of chat is written to the sockets of a gateway's members within 250 ms of its arrival at the author's",
        0.99,
        'sum(rate(studyroom_gateway_delivery_latency_seconds_bucket{type="Chat",le="0.25"}[{w}]))',
        'sum(rate(studyroom_gateway_delivery_latency_seconds_count{type="Chat"}[{w}]))',
    ),
    Slo(
        "availability",
        "99.9 % of connections, joins and chat messages succeed, or fail by the client's fault",
        0.999,
        f"({_ASKED}) - ({_FAILED})",
        f"({_ASKED})",
    ),
)


@dataclass(frozen=True)
class Burn:
    """An alert on the burn rate. `factor`: how many times as fast as allowed the budget burns."""

    severity: str
    factor: float
    long: str
    short: str
    wait: str


BURNS = (
    Burn("page", 14.4, "1h", "5m", "2m"),
    Burn("page", 6.0, "6h", "30m", "15m"),
    Burn("ticket", 1.0, "3d", "6h", "1h"),
)


def rules() -> dict[str, Any]:
    recorded = [
        {
            "record": f"slo:studyroom_errors:ratio_rate{window}",
            "labels": {"slo": slo.name},
            "expr": slo.error_ratio(window),
        }
        for slo in SLOS
        for window in WINDOWS
    ]
    recorded += [
        {
            "record": "slo:studyroom_error_budget:remaining_3d",
            "labels": {"slo": slo.name},
            "expr": f'1 - slo:studyroom_errors:ratio_rate3d{{slo="{slo.name}"}} / {1 - slo.objective:.4f}',
        }
        for slo in SLOS
    ]
    alerts = [_alert(slo, burn) for slo in SLOS for burn in BURNS]
    return {
        "groups": [
            {"name": "studyroom-slo-recording", "interval": "30s", "rules": recorded},
            {"name": "studyroom-slo-alerts", "rules": alerts},
        ]
    }


def alert_name(slo: Slo) -> str:
    return "Slo" + "".join(part.capitalize() for part in slo.name.split("_"))


def _alert(slo: Slo, burn: Burn) -> dict[str, Any]:
    bound = f"{burn.factor * (1 - slo.objective):.5f}".rstrip("0")
    name = alert_name(slo)
    return {
        "alert": name,
        "expr": (
            f'slo:studyroom_errors:ratio_rate{burn.long}{{slo="{slo.name}"}} > {bound}'
            f' and slo:studyroom_errors:ratio_rate{burn.short}{{slo="{slo.name}"}} > {bound}'
        ),
        "for": burn.wait,
        "labels": {"severity": burn.severity, "window": burn.long},
        "annotations": {
            "summary": f"{{{{ $value | humanizePercentage }}}} in {burn.long} missed the objective: {slo.promise}",
            "runbook_url": f"docs/operations.md#{name.lower()}",
        },
    }


def prometheus_rule() -> dict[str, Any]:
    """Return all rule files as one object for the Prometheus operator."""
    groups = [group for file in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(file.read_text())["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "studyroom", "labels": {"app.kubernetes.io/part-of": "studyroom"}},
        "spec": {"groups": groups},
    }


def _text(content: dict[str, Any], source: str) -> str:
    return GENERATED.format(source) + str(yaml.safe_dump(content, sort_keys=False, width=1_000))


if __name__ == "__main__":
    # The second file includes the first one.
    write_or_check({RULES / "slos.yml": _text(rules(), "slos.py")})
    write_or_check({KUBERNETES: _text(prometheus_rule(), "rules")})
