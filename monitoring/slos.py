"""The objectives, their burn-rate alerts, and a PrometheusRule with all rules. `make dashboards` writes them.

The alerts follow chapter 5 of the SRE workbook. They fire if 2 % of the budget of 30 days burn in an hour (page), 5 %
in six hours (page), or 10 % in three days (ticket), while a short window shows that it still burns.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.panels import write_or_check

RULES = Path(__file__).parent / "rules"
WRITTEN_BY_HAND = ("alerts.yml", "kubernetes.yml")


def _present_runbooks() -> str:
    """Return the address to which alerts link now. So an address that was set once stays."""
    found = re.search(r"runbook_url: (\S+)#", (RULES / WRITTEN_BY_HAND[0]).read_text())
    return found[1] if found is not None else "https://docs.example.com/studyroom/operations.html"


RUNBOOKS = os.environ.get("RUNBOOKS") or _present_runbooks()
"""The address of docs/operations.md as a page, to which alerts link. The variable RUNBOOKS changes it for good."""
KUBERNETES = Path(__file__).parents[1] / "k8s" / "monitoring" / "operator" / "prometheus-rule.yaml"
GENERATED = "# Written by `make dashboards` from monitoring/{}.\n"
FEWEST_MISSED = 20
"""A single event wakes nobody."""
FEWEST_FAILED_PASSES = 3
"""A probe has few events, and all of them are alike."""
_SECONDS = {"1h": 3_600, "6h": 6 * 3_600, "3d": 3 * 86_400}
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True)
class Slo:
    """An objective: the share of good events. `good` and `total`: rates per second, with `{w}` for the window."""

    name: str
    promise: str
    objective: float
    good: str
    total: str
    fewest_missed: int = FEWEST_MISSED
    """Events that miss the objective within the long window before an alert fires."""

    def error_ratio(self, window: str) -> str:
        return f"1 - ({self.good}) / (({self.total}) > 0)".replace("{w}", window)

    def missed(self, window: str) -> str:
        return f"({self.total}) - ({self.good})".replace("{w}", window)


_BY = "sum by (cluster, namespace) "


def _rate(metric: str) -> str:
    return f"{_BY}(rate(studyroom_gateway_{metric}[{{w}}]))"


def _or_none(rate: str) -> str:
    """A counter has no sample before its first event. It counts as 0 in each namespace with gateways."""
    return f"({rate} or 0 * {_rate('connections_accepted_total')})"


_OWN_FAULT = "presence_unavailable|chat_unavailable|chat_storage_full|internal|keys_unavailable"
_REFUSALS = "too_many_connections|too_many_handshakes|keys_unavailable"
_FAILED = " + ".join(
    (
        _or_none(_rate(f'errors_sent_total{{code=~"{_OWN_FAULT}"}}')),
        _or_none(_rate(f'handshakes_refused_total{{code=~"{_REFUSALS}"}}')),
    )
)
_ASKED = " + ".join(
    (
        _rate("connections_accepted_total"),
        _or_none(_rate(f'handshakes_refused_total{{code=~"{_REFUSALS}"}}')),
        _or_none(_rate("join_duration_seconds_count")),
        _or_none(_rate('messages_received_total{type="Chat"}')),
    )
)

SLOS = (
    Slo(
        "join_latency",
        "99 % of joins are done within 500 ms, without those of full rooms",
        0.99,
        _rate('join_duration_seconds_bucket{result="joined",le="0.5"}'),
        _rate('join_duration_seconds_count{result=~"joined|unavailable"}'),
    ),
    Slo(
        "delivery_latency",
        "99 % of chat is written to the sockets of a gateway's members within 250 ms of its arrival at the author's",
        0.99,
        _rate('delivery_latency_seconds_bucket{type="Chat",le="0.25"}'),
        _rate('delivery_latency_seconds_count{type="Chat"}'),
    ),
    Slo(
        "availability",
        "99.9 % of connections, joins and chat messages succeed, or fail by the client's fault",
        0.999,
        f"({_ASKED}) - ({_FAILED})",
        f"({_ASKED})",
    ),
    Slo(
        "probe",
        "99.5 % of the passes of the probe succeed",
        0.995,
        f'{_BY}(rate(studyroom_probe_passes_total{{result="success"}}[{{w}}]))',
        f"{_BY}(rate(studyroom_probe_passes_total[{{w}}]))",
        FEWEST_FAILED_PASSES,
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
        {"record": f"slo:studyroom_errors:rate{window}", "labels": {"slo": slo.name}, "expr": slo.missed(window)}
        for slo in SLOS
        for window in dict.fromkeys(burn.long for burn in BURNS)
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
            f' and slo:studyroom_errors:rate{burn.long}{{slo="{slo.name}"}} * {_SECONDS[burn.long]}'
            f" > {slo.fewest_missed}"
        ),
        "for": burn.wait,
        "labels": {"severity": burn.severity, "window": burn.long},
        "annotations": {
            "summary": f"{{{{ $value | humanizePercentage }}}} in {burn.long} missed the objective: {slo.promise}",
            "runbook_url": runbook(name),
        },
    }


def runbook(alert: str) -> str:
    """Return the address of the section about an alert."""
    return f"{RUNBOOKS}#{alert.lower()}"


def with_runbooks(rules: str) -> str:
    """Return the text of a file of rules, in which each alert has the address of its section in the runbook.

    The address follows the summary, which is a line of its own.
    """
    lines = []
    alert = ""
    for line in rules.splitlines():
        if "runbook_url: " in line:
            continue
        lines.append(line)
        if found := re.match(r"\s+- alert: (\w+)$", line):
            alert = found[1]
        if found := re.match(r"(\s+)summary: ", line):
            lines.append(f"{found[1]}runbook_url: {runbook(alert)}")
    return "\n".join(lines) + "\n"


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
    # The last file includes the others.
    write_or_check({RULES / "slos.yml": _text(rules(), "slos.py")})
    write_or_check({RULES / name: with_runbooks((RULES / name).read_text()) for name in WRITTEN_BY_HAND})
    write_or_check({KUBERNETES: _text(prometheus_rule(), "rules")})
