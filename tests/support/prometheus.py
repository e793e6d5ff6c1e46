"""A real Prometheus, and something that speaks to it as NATS's exporter does."""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

from tests.support.processes import Process
from tests.support.waiting import http_get


@dataclass
class Prometheus(Process):
    url: str = ""

    def query(self, query: str) -> list[dict[str, Any]]:
        """The series of the answer that have a number now. Fails the test when the query is refused."""
        status, body = http_get(f"{self.url}/api/v1/query?{urlencode({'query': query})}")
        answer = json.loads(body)
        assert (status, answer["status"]) == (200, "success"), f"{query}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return [series for series in result if math.isfinite(float(series["value"][1]))]


# --- NATS's exporter ---------------------------------------------------------------------------------------


def exported_by_nats(monitor_url: str) -> str:
    """The metrics of prometheus-nats-exporter 0.17 for a server, by its rules and from the same pages.

    They are every number of `/varz` under its path, joined by underscores, the totals of `/connz`, `/healthz`, and the
    streams and consumers of `/jsz`.
    """
    varz, connz = _page(monitor_url, "varz"), _page(monitor_url, "connz")
    own = {"server_id": varz["server_name"]}
    lines = [_sample(f"gnatsd_varz_{path}", own, value) for path, value in _numbers(varz)]
    lines.append(_sample("gnatsd_varz_start", own, 1.0))
    pending = sum(connection["pending_bytes"] for connection in connz["connections"])
    lines.append(_sample("gnatsd_connz_pending_bytes", own, pending))
    health: str = _page(monitor_url, "healthz")["status"]
    lines.append(_sample("gnatsd_healthz_status", own, 0 if health == "ok" else 1))
    lines.append(_sample("gnatsd_healthz_status_value", {**own, "value": health}, 1 if health == "ok" else 0))
    jsz = _page(monitor_url, "jsz?accounts=true&streams=true&consumers=true&config=true")
    own |= {"server_name": varz["server_name"], "cluster": "nats", "meta_leader": "", "is_meta_leader": "true"}
    lines.append(_sample("jetstream_server_total_streams", own, jsz["streams"]))
    accounts = jsz["account_details"]
    for stream in (stream for account in accounts for stream in account.get("stream_detail", [])):
        labels = {**own, "stream_name": stream["name"], "stream_leader": "", "is_stream_leader": "true"}
        state = stream["state"]
        for name, key in (("total_messages", "messages"), ("total_bytes", "bytes"), ("last_seq", "last_seq")):
            lines.append(_sample(f"jetstream_stream_{name}", labels, state[key]))
        lines.append(_sample("jetstream_stream_consumer_count", labels, state["consumer_count"]))
        lines += [
            _sample("jetstream_consumer_num_pending", {**labels, "consumer_name": one["name"]}, one["num_pending"])
            for one in stream.get("consumer_detail", [])
        ]
    return "\n".join(lines) + "\n"


def _page(monitor_url: str, path: str) -> Any:
    return json.loads(http_get(f"{monitor_url}/{path}")[1])


def _numbers(page: dict[str, Any], *above: str) -> Iterator[tuple[str, float]]:
    for key, value in page.items():
        if isinstance(value, dict):
            yield from _numbers(value, *above, key)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield "_".join((*above, key)).replace("/", "_").strip("_"), value


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}"


@contextmanager
def nats_exporter(monitor_url: str) -> Iterator[str]:
    """The address of its metrics."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exported_by_nats(monitor_url).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)
