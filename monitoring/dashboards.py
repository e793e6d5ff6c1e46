"""The dashboards Overview, Gateway, Presence, Documents, Hooks and NATS. `make dashboards` writes them.

They show services by RED (rate, errors, duration) and resources by USE (utilisation, saturation, errors).
"""

import json
from pathlib import Path

from monitoring.panels import Dashboard, Panel, Row, render, write_or_check

DIRECTORY = Path(__file__).parent / "grafana" / "dashboards"
_I = "[$__rate_interval]"
_SERVICES = ("gateway", "presence", "documents", "provisioner")


def rate(metric: str, by: str = "", where: str = "") -> str:
    grouped = f" by ({by}) " if by else ""
    return f"sum{grouped}(rate({metric}{where}{_I}))"


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{where}{_I})))"


def latency(metric: str, by: str = "", where: str = "") -> tuple[tuple[str, str], ...]:
    legend = f"{{{{{by}}}}} " if by else ""
    return ((quantile(0.5, metric, by, where), f"{legend}p50"), (quantile(0.99, metric, by, where), f"{legend}p99"))


def mean(metric: str) -> str:
    return f"{rate(metric + '_sum')} / ({rate(metric + '_count')} > 0)"


def or_zero(expression: str) -> str:
    """Return an expression with a value before the first sample, for counters that appear with the first event."""
    return f"{expression} or vector(0)"


def _largest(what: str) -> str:
    return f"max by (cluster, namespace, stream) (studyroom_provisioner_stream_{what})"


def process_panels(job: str, lag: str) -> tuple[Panel, ...]:
    only = f'{{job="{job}"}}'
    return (
        Panel("CPU", "percentunit", "Share of one core, per process. A gateway uses at most one core.",
              ((f"rate(process_cpu_seconds_total{only}{_I})", "{{instance}}"),)),
        Panel("Memory", "bytes", "Resident memory per process.",
              ((f"process_resident_memory_bytes{only}", "{{instance}}"),)),
        Panel("Event loop lag", "s", "Delay of timers beyond their time, which shows how saturated the core is.",
              ((quantile(0.99, lag, "instance"), "p99 {{instance}}"),)),
        Panel("File descriptors", "percentunit", "Share of the limit in use. Each connection uses one.",
              ((f"process_open_fds{only} / process_max_fds{only}", "{{instance}}"),), highest=1),
        Panel("Tasks", "short", "asyncio tasks. Their number grows with concurrent joins, not with connections.",
              ((f"studyroom_event_loop_tasks{only}", "{{instance}}"),)),
        Panel("NATS client", "short", "Reconnections, refusals and unsent messages, per second.",
              ((rate("studyroom_nats_reconnects_total", where=only), "reconnects"),
               (rate("studyroom_nats_unsent_total", where=only), "not sent"),
               (rate("studyroom_nats_refusals_total", where=only), "not allowed"))),
    )  # fmt: skip


OVERVIEW = Dashboard("overview", "Studyroom overview", (
    Row("Objectives", (
        Panel("Error budget left", "percentunit", "Rest of the budget of three days, per objective. Overspent below 0.",
              (("slo:studyroom_error_budget:remaining_3d", "{{slo}}"),), stat=True, highest=1),
        Panel("Errors of the last hour", "percentunit", "Share of events that missed each objective.",
              (("slo:studyroom_errors:ratio_rate1h", "{{slo}}"),)),
        Panel("Alerts", "short", "Alerts that are firing.",
              ((or_zero('count by (alertname) (ALERTS{alertstate="firing"})'), "{{alertname}}"),)),
    )),
    Row("Probe: as users see it", (
        Panel("Passes", "short", "Passes of the probe through the public address, per second, by result.",
              ((rate("studyroom_probe_passes_total", "result"), "{{result}}"),)),
        Panel("Steps", "s", "Time of each step of a pass that succeeded.",
              latency("studyroom_probe_step_duration_seconds", "step")),
        Panel("Failed steps", "short", "Passes that failed, per second, by the step that failed.",
              ((rate("studyroom_probe_failures_total", "step"), "{{step}}"),)),
    )),
    Row("RED: service to clients", (
        Panel("Connections", "short", "Open WebSocket connections of all gateways, and those in a room.",
              (("sum(studyroom_gateway_connections)", "connections"),
               ("sum(studyroom_gateway_room_connections)", "in a room"))),
        Panel("Messages to clients", "short", "Per second, by type.",
              ((rate("studyroom_gateway_messages_sent_total", "type"), "{{type}}"),)),
        Panel("Errors to clients", "short", "Error messages and refused handshakes per second, by code.",
              ((or_zero(rate("studyroom_gateway_errors_sent_total", "code")), "{{code}}"),
               (rate("studyroom_gateway_handshakes_refused_total", "code"), "handshake: {{code}}"))),
        Panel("Delivery", "s", "Time from the author's socket to the members' sockets.",
              latency("studyroom_gateway_delivery_latency_seconds", "type")),
        Panel("Join", "s", "Time from JoinRoom to JoinedRoom.",
              latency("studyroom_gateway_join_duration_seconds", where='{result="joined"}')),
        Panel("Chat commit", "s", "Time from the author's socket to the acknowledgement by the stream.",
              latency("studyroom_gateway_chat_commit_latency_seconds")),
    )),
    Row("USE: resources", (
        Panel("Services that answer", "short", "Processes of each service that answer Prometheus.",
              (('sum by (job) (up{job=~"gateway|presence|documents|hooks|provisioner|nats|haproxy"})', "{{job}}"),)),
        Panel("CPU", "percentunit", "Share of one core that the busiest process of each service uses.",
              ((f"max by (job) (rate(process_cpu_seconds_total{_I}))", "{{job}}"),)),
        Panel("Connected to NATS", "short", "1 if all processes of the service are connected.",
              (("min by (job) (studyroom_nats_connected)", "{{job}}"),
               ("max(studyroom_provisioner_streams_ok)", "streams as configured")), highest=1),
        Panel("Ready", "short", "1 if all processes of the service should get traffic.",
              tuple((f"min(studyroom_{job}_ready)", job) for job in _SERVICES), highest=1),
        Panel("Versions", "short", "Processes of each version. During an upgrade there are two.",
              (("count by (version) (studyroom_build_info)", "{{version}}"),)),
        Panel("Load balancer", "short", "Open sessions of HAProxy by backend and gateway (Compose only).",
              (('sum by (proxy, server) (haproxy_server_current_sessions{proxy=~"rooms|gateways"}) > 0',
                "{{proxy}} {{server}}"),)),
        Panel("Rooms and members", "short", "Rooms and members that presence has. Users count once per room.",
              (("max(studyroom_presence_rooms)", "rooms"), ("max(studyroom_presence_members)", "members"))),
        Panel("Memory", "bytes", "Resident memory of the largest process of each service.",
              (("max by (job) (process_resident_memory_bytes)", "{{job}}"),)),
    )),
), "studyroom_event_loop_tasks", ("studyroom_", "process_", "up"))  # fmt: skip

GATEWAY = Dashboard("gateway", "Studyroom gateway", (
    Row("RED", (
        Panel("Messages from clients", "short", "Per second, by type.",
              ((rate("studyroom_gateway_messages_received_total", "type"), "{{type}}"),)),
        Panel("Messages to clients", "short", "Per second, by type.",
              ((rate("studyroom_gateway_messages_sent_total", "type"), "{{type}}"),)),
        Panel("Bytes", "Bps", "Message text from clients, and frames to clients.",
              ((rate("studyroom_gateway_received_bytes_total"), "in"),
               (rate("studyroom_gateway_sent_bytes_total"), "out"))),
        Panel("Errors to clients", "short", "Per second, by code.",
              ((or_zero(rate("studyroom_gateway_errors_sent_total", "code")), "{{code}}"),
               (rate("studyroom_gateway_rate_limited_total"), "rate limited, cursors included"))),
        Panel("Handshakes", "short", "Per second.",
              ((rate("studyroom_gateway_connections_accepted_total"), "accepted"),
               (rate("studyroom_gateway_handshakes_refused_total", "code"), "{{code}}"),
               (rate("studyroom_gateway_handovers_total", "outcome"), "between workers: {{outcome}}"),
               (rate("studyroom_gateway_late_request_heads_total"), "request head too late"),
               (rate("studyroom_gateway_unread_answers_total"), "HTTP: answer not read"),
               (rate("studyroom_gateway_requests_refused_total", "code"), "HTTP: {{code}}"))),
        Panel("Disconnects", "short", "Per second, by close code. 1001 and 1006 are closed tabs and lost networks.",
              ((rate("studyroom_gateway_disconnects_total", "code"), "{{code}}"),)),
        Panel("Delivery", "s", "Time from the author's socket to the members' sockets, once per message and gateway.",
              latency("studyroom_gateway_delivery_latency_seconds", "type")),
        Panel("Join", "s", "Time from JoinRoom to the answer, by result.",
              latency("studyroom_gateway_join_duration_seconds", "result")),
        Panel("Chat commit", "s", "Time from the author's socket to the acknowledgement by the stream.",
              latency("studyroom_gateway_chat_commit_latency_seconds")),
    )),
    Row("USE", (
        Panel("Connections", "short", "Per gateway, with channels, and channels alone.",
              (("studyroom_gateway_connections", "{{instance}}"),
               ("studyroom_gateway_channels", "{{instance}} channels"))),
        Panel("Most of one client", "short", "The most connections of one address and of one user to a gateway.",
              (("max(studyroom_gateway_address_connections)", "address"),
               ("max(studyroom_gateway_user_connections)", "user"))),
        Panel("Balance", "short", "Connections of the fullest gateway divided by the mean. 1 is even.",
              (("max(studyroom_gateway_connections) / (avg(studyroom_gateway_connections) > 0)", "fullest / mean"),)),
        Panel("Collection time", "s", "How long rooms collect before they send. It grows with the load of the gateway.",
              (("studyroom_gateway_collection_seconds", "{{instance}}"),)),
        Panel("Frames per flush", "short", "Batches grow with load, which keeps the cost of a delivery down.",
              ((quantile(0.5, "studyroom_gateway_flush_batch_size"), "p50"),
               (quantile(0.99, "studyroom_gateway_flush_batch_size"), "p99"))),
        *process_panels("gateway", "studyroom_gateway_event_loop_lag_seconds"),
        Panel("Not delivered", "short", "Room messages dropped for slow consumers, or whose author is not a member.",
              ((or_zero(rate("studyroom_gateway_dropped_total", "lane, reason")), "{{lane}} {{reason}}"),)),
        Panel("Conflated", "short", "Cursors and typing notices replaced by a newer one of the same member.",
              ((or_zero(rate("studyroom_gateway_conflated_total", "type")), "{{type}}"),)),
        Panel("Failed tasks", "short", "Failures of background tasks, which are then restarted.",
              ((rate("studyroom_gateway_task_failures_total", "task"), "{{task}}"),)),
    )),
    Row("Homes of rooms", (
        Panel("Gateways per room", "short", "1 if all members of a room are on one gateway, where a room costs least.",
              ((quantile(0.5, "studyroom_gateway_room_gateways"), "p50"),
               (quantile(0.99, "studyroom_gateway_room_gateways"), "p99"),
               (mean("studyroom_gateway_room_gateways"), "mean"))),
        Panel("Deliveries that crossed gateways", "short", "Cursors that members got from other gateways, per second.",
              ((rate("studyroom_gateway_crossed_deliveries_total"), "crossed"),
               (rate("studyroom_gateway_messages_sent_total", where='{type="CursorUpdate"}'), "all"))),
        Panel("Moves", "short", "Rooms, or parts of large rooms, that moved to their home, their members, and probes.",
              ((rate("studyroom_gateway_rooms_moved_total"), "rooms"),
               (rate("studyroom_gateway_room_members_moved_total"), "members"),
               (rate("studyroom_gateway_home_probes_total"), "probes"))),
    )),
    Row("Shared documents", (
        Panel("Editors", "short", "Open connections of editors, and documents that are open on the gateways.",
              (("sum (studyroom_gateway_document_connections)", "editors"),
               ("sum (studyroom_gateway_documents)", "documents"))),
        Panel("Updates", "short", "Per second: stored, not stored, and written to editors.",
              ((rate("studyroom_gateway_document_updates_stored_total"), "stored"),
               (rate("studyroom_gateway_document_updates_not_stored_total"), "not stored"),
               (rate("studyroom_gateway_document_deliveries_total"), "delivered"))),
        Panel("Commit", "s", "Time from the publication of an update to its acknowledgement.",
              latency("studyroom_gateway_document_commit_latency_seconds")),
        Panel("Opening", "s", "Time until the documents service has answered.",
              latency("studyroom_gateway_document_sync_duration_seconds")),
        Panel("Repairs", "short", "Per second: documents that have missed updates, fresh syncs of slow editors, and "
              "questions without an answer.",
              ((rate("studyroom_gateway_document_gaps_total"), "gaps"),
               (rate("studyroom_gateway_document_fresh_syncs_total"), "fresh syncs"),
               (rate("studyroom_gateway_document_sync_failures_total"), "no answer"))),
        Panel("Refused edits", "short", "Per second, by reason.",
              ((rate("studyroom_gateway_document_edits_refused_total", "reason"), "{{reason}}"),)),
    )),
    Row("Moderation", (
        Panel("Actions", "short", "Commands of backends and moderators, per second, by action and result.",
              ((rate("studyroom_gateway_moderation_actions_total", "action, result"), "{{action}} {{result}}"),)),
        Panel("Erasures", "short", "Erasures that ended, per second, by outcome. Backends repeat interrupted ones.",
              ((rate("studyroom_gateway_erasures_total", "outcome"), "{{outcome}}"),)),
    )),
    Row("Resume and drain", (
        Panel("Resumes", "short", "Joins that asked for missed chat, by result.",
              ((rate("studyroom_gateway_resumes_total", "result"), "{{result}}"),)),
        Panel("Backfill", "short", "Missed messages read from the stream, rooms that missed some, and resets.",
              ((rate("studyroom_gateway_chat_backfill_messages_sum"), "messages"),
               (rate("studyroom_gateway_chat_rooms_behind_total"), "rooms that missed chat"),
               (rate("studyroom_gateway_chat_resets_total"), "rooms with ChatReset"))),
        Panel("Duplicate chat", "short", "Retries recognised by their id, and messages received again.",
              ((rate("studyroom_gateway_chat_duplicates_total"), "stored before"),
               (rate("studyroom_gateway_chat_repeats_total"), "received before"))),
        Panel("Drain", "short", "Connections that draining gateways have yet to close.",
              (("sum by (instance) (studyroom_gateway_drain_remaining)", "{{instance}}"),)),
        Panel("Load shedding", "short", "Connections that gateways far above the mean asked to reconnect, per second.",
              ((rate("studyroom_gateway_shed_total", "instance"), "{{instance}}"),)),
        Panel("Moving clients", "short", "Clients asked to open another connection first, and those closed late.",
              ((rate("studyroom_gateway_messages_sent_total", where='{type="Moving"}'), "asked"),
               (rate("studyroom_gateway_moves_late_total"), "closed"))),
        Panel("Resyncs", "short", "Resyncs, the differences that they found, and restored connections.",
              ((rate("studyroom_gateway_resyncs_total"), "resyncs"),
               (rate("studyroom_gateway_resync_differences_total"), "differences"),
               (rate("studyroom_gateway_rooms_behind_total"), "rooms that missed a change"),
               (rate("studyroom_gateway_connections_restored_total"), "restored connections"))),
    )),
), "studyroom_gateway_connections", ("studyroom_", "process_"))  # fmt: skip

PRESENCE = Dashboard("presence", "Studyroom presence", (
    Row("RED", (
        Panel("Requests", "short", "Per second, by kind.",
              ((rate("studyroom_presence_roster_request_duration_seconds_count", "request"), "{{request}}"),)),
        Panel("Not carried out", "short", "Per second, by outcome.",
              ((rate("studyroom_presence_requests_refused_total", "outcome"), "{{outcome}}"),)),
        Panel("Duration", "s", "Time from receipt to answer.",
              ((quantile(0.99, "studyroom_presence_roster_request_duration_seconds", "request"), "p99 {{request}}"),)),
        Panel("Joins and leaves", "short", "Per second, leaves by cause.",
              ((rate("studyroom_presence_joins_total"), "joins"),
               (rate("studyroom_presence_leaves_total", "cause"), "leave: {{cause}}"))),
        Panel("Rooms and members", "short", "Per replica. Replicas must agree.",
              (("studyroom_presence_rooms", "rooms {{instance}}"),
               ("studyroom_presence_members", "members {{instance}}"))),
        Panel("Failed tasks", "short", "Failures of background tasks, which are then restarted.",
              ((rate("studyroom_presence_task_failures_total", "task"), "{{task}}"),)),
    )),
    Row("USE", process_panels("presence", "studyroom_presence_event_loop_lag_seconds")),
    Row("Presence correctness", (
        Panel("Leases", "short", "Gateways with a valid lease at each replica, and gateways that answer Prometheus.",
              (("studyroom_presence_leases", "{{instance}}"), ("count(studyroom_gateway_connections)", "gateways"))),
        Panel("Removed connections", "short", "Connections whose gateway has died or does not announce them.",
              ((rate("studyroom_presence_leaves_total", "cause", '{cause=~"lease_expired|not_announced"}'),
                "{{cause}}"),
               (rate("studyroom_presence_lease_expirations_total"), "dead gateways"))),
        Panel("Ghosts", "s", "Mean time until the last member of a dead gateway has left.",
              ((or_zero(f"sum(increase(studyroom_presence_ghost_seconds_sum{_I}))"
                        f" / (sum(increase(studyroom_presence_ghost_seconds_count{_I})) > 0)"), "mean"),)),
        Panel("Grace periods", "short", "Grace periods that have ended, by outcome.",
              ((rate("studyroom_presence_grace_outcomes_total", "outcome"), "{{outcome}}"),)),
        Panel("Waiting", "short", "Requests that wait for a slot, in gateways and in presence, by kind and shards.",
              (("sum by (lane, shards) (studyroom_gateway_presence_questions_waiting)", "{{lane}} {{shards}}"),
               ("sum by (shards) (studyroom_presence_requests_waiting)", "presence {{shards}}"))),
        Panel("Shards that do not answer", "short", "The largest number that any gateway reports.",
              (("max by (shards) (studyroom_gateway_presence_shards_silent)", "{{shards}}"),)),
        Panel("Retries", "short", "Writes that conflicted, and joins repeated because their event did not arrive.",
              ((rate("studyroom_presence_conflicts_total"), "conflicts"),
               (rate("studyroom_gateway_join_barrier_retries_total"), "join barrier"))),
        Panel("Mirror rebuilds", "short", "Times that a replica read the bucket again. It does not answer meanwhile.",
              ((f"sum by (instance, stream) (increase(studyroom_presence_mirror_rebuilds_total{_I}))",
                "{{instance}} {{stream}}"),)),
    )),
), "studyroom_presence_members",
    ("studyroom_presence_", "studyroom_nats_", "studyroom_event_loop_", "process_"))  # fmt: skip

DOCUMENTS = Dashboard("documents", "Studyroom documents", (
    Row("RED", (
        Panel("Requests", "short", "Requests of gateways for a document, per second.",
              ((rate("studyroom_documents_sync_duration_seconds_count"), "requests"),)),
        Panel("Not carried out", "short", "Per second, by outcome.",
              ((rate("studyroom_documents_requests_refused_total", "outcome"), "{{outcome}}"),)),
        Panel("Duration", "s", "Time from receipt to answer.", latency("studyroom_documents_sync_duration_seconds")),
        Panel("Whole documents", "short", "Requests about whole documents and versions, per second, by outcome.",
              ((rate("studyroom_documents_management_requests_total", "outcome"), "{{outcome}}"),)),
        Panel("Duration for whole documents", "s", "Time from receipt to answer.",
              latency("studyroom_documents_management_duration_seconds")),
        Panel("Reading", "s", "Time to read a document that was not in memory.",
              latency("studyroom_documents_load_duration_seconds")),
        Panel("Waiting", "short", "Requests that wait for a slot, by shards.",
              (("sum by (shards) (studyroom_documents_requests_waiting)", "{{shards}}"),)),
        Panel("Failed tasks", "short", "Failures of background tasks, which are then restarted.",
              ((rate("studyroom_documents_task_failures_total", "task"), "{{task}}"),)),
    )),
    Row("USE", process_panels("documents", "studyroom_documents_event_loop_lag_seconds")),
    Row("Documents", (
        Panel("In memory", "short", "Documents that each replica has in memory.",
              (("studyroom_documents_cached", "{{instance}}"),)),
        Panel("Length in memory", "bytes", "Their length. They take several times as much memory.",
              (("studyroom_documents_cached_bytes", "{{instance}}"),)),
        Panel("Snapshots", "short", "Per second, by outcome.",
              ((rate("studyroom_documents_snapshots_total", "outcome"), "{{outcome}}"),)),
        Panel("Length of snapshots", "bytes", "99 % are shorter.",
              ((quantile(0.99, "studyroom_documents_snapshot_bytes"), "p99"),)),
        Panel("Removed updates", "short", "Updates that a snapshot covers, per second.",
              ((rate("studyroom_documents_purged_updates_total"), "updates"),)),
        Panel("No edits", "short", "Answers about documents that accept no edits, and malformed updates, per second.",
              ((rate("studyroom_documents_full_answers_total", "reason"), "full: {{reason}}"),
               (rate("studyroom_documents_malformed_updates_total"), "malformed updates"))),
    )),
), "studyroom_documents_cached",
    ("studyroom_documents_", "studyroom_nats_", "studyroom_event_loop_", "process_"))  # fmt: skip

HOOKS = Dashboard("hooks", "Studyroom hooks", (
    Row("RED", (
        Panel("Requests", "short", "Requests to the backend, per second, by outcome.",
              ((rate("studyroom_hooks_attempts_total", "outcome"), "{{outcome}}"),)),
        Panel("Duration", "s", "Time until the backend has answered.",
              latency("studyroom_hooks_attempt_duration_seconds")),
        Panel("Delay", "s", "Time from the commit of what an event is about to its delivery.",
              latency("studyroom_hooks_delivery_delay_seconds")),
        Panel("Events", "short", "Events that were put into the log, per second, by type.",
              ((rate("studyroom_hooks_events_total", "type"), "{{type}}"),)),
        Panel("Oldest event", "s", "Age of the oldest event that is not delivered.",
              (("max (studyroom_hooks_oldest_undelivered_seconds)", "oldest"),)),
        Panel("Waiting rooms", "short", "Rooms with events that are not delivered, and events that left the log.",
              (("sum (studyroom_hooks_waiting_rooms)", "rooms"),
               (rate("studyroom_hooks_expired_events_total"), "lost events per second"))),
        Panel("Groups of shards", "short", "Groups that each replica works on. The others wait to take over.",
              (("studyroom_hooks_groups", "{{instance}}"),)),
        Panel("Failed tasks", "short", "Failures of background tasks, which are then restarted.",
              ((rate("studyroom_hooks_task_failures_total", "task"), "{{task}}"),)),
    )),
    Row("USE", process_panels("hooks", "studyroom_hooks_event_loop_lag_seconds")),
), "studyroom_hooks_groups", ("studyroom_hooks_", "studyroom_nats_", "studyroom_event_loop_", "process_"))  # fmt: skip

NATS = Dashboard("nats", "Studyroom NATS", (
    Row("RED", (
        Panel("Messages", "short", "Per second and server.",
              ((rate("gnatsd_varz_in_msgs", "server_id"), "in {{server_id}}"),
               (rate("gnatsd_varz_out_msgs", "server_id"), "out {{server_id}}"))),
        Panel("Bytes", "Bps", "Per server.",
              ((rate("gnatsd_varz_in_bytes", "server_id"), "in {{server_id}}"),
               (rate("gnatsd_varz_out_bytes", "server_id"), "out {{server_id}}"))),
        Panel("Unhealthy", "short", "1 if a server reports that JetStream has no leader, or lags.",
              (("gnatsd_healthz_status", "{{server_id}}"),), highest=1),
        Panel("Slow consumers", "short", "Clients disconnected because they read too slowly, per second.",
              ((rate("gnatsd_varz_slow_consumers", "server_id"), "{{server_id}}"),)),
        Panel("API errors", "short", "JetStream API calls and errors, per second.",
              ((rate("gnatsd_varz_jetstream_stats_api_total", "server_id"), "calls {{server_id}}"),
               (rate("gnatsd_varz_jetstream_stats_api_errors", "server_id"), "errors {{server_id}}"))),
        Panel("Errors of clients", "short", "Errors of Studyroom's services, by kind.",
              ((or_zero(rate("studyroom_nats_errors_total", "kind")), "{{kind}}"),
               (rate("studyroom_nats_server_errors_total", "reason"), "from NATS: {{reason}}"),
               (rate("studyroom_provisioner_failures_total"), "failed passes of the provisioner"))),
    )),
    Row("USE", (
        Panel("CPU", "percent", "Share of one core, per server.", (("gnatsd_varz_cpu", "{{server_id}}"),)),
        Panel("Memory", "bytes", "Resident memory per server.", (("gnatsd_varz_mem", "{{server_id}}"),)),
        Panel("Storage", "percentunit", "Share of JetStream's storage limit in use.",
              (("gnatsd_varz_jetstream_stats_storage / (gnatsd_varz_jetstream_config_max_storage > 0)",
                "{{server_id}}"),)),
        Panel("Connections", "short", "Clients per server, and routes to the others.",
              (("gnatsd_varz_connections", "clients {{server_id}}"), ("gnatsd_varz_routes", "routes {{server_id}}"))),
        Panel("Subscriptions", "short", "Per server. A gateway has one for each of its rooms.",
              (("gnatsd_varz_subscriptions", "{{server_id}}"),)),
        Panel("Waiting for clients", "bytes", "Bytes that clients have not read yet.",
              (("gnatsd_connz_pending_bytes", "{{server_id}}"),)),
    )),
    Row("Streams", (
        Panel("Messages", "short", "Stored messages, by stream.",
              (("max by (stream_name) (jetstream_stream_total_messages)", "{{stream_name}}"),)),
        Panel("Bytes", "bytes", "Stored bytes of one copy, by stream.",
              (("max by (stream_name) (jetstream_stream_total_bytes)", "{{stream_name}}"),)),
        Panel("Writes", "short", "Per second, by stream.",
              ((f"max by (stream_name) (rate(jetstream_stream_last_seq{_I}))", "{{stream_name}}"),)),
        Panel("Fullness", "percentunit",
              "A full stream refuses messages or drops its oldest. Presence refuses joins when a bucket is at 90 %.",
              ((f"{_largest('bytes')} / {_largest('max_bytes')}", "{{stream}}"),), highest=1),
        Panel("Refused by full storage", "short", "Chat messages and joins, per second.",
              ((rate("studyroom_gateway_chat_storage_full_total"), "chat"),
               (rate("studyroom_presence_requests_refused_total", where='{outcome="storage_full"}'), "joins"))),
        Panel("Consumers", "short", "Each presence replica has one for members and one for leases.",
              (("max by (stream_name) (jetstream_stream_consumer_count)", "{{stream_name}}"),)),
        Panel("Lag of consumers", "short", "Changes that NATS has not sent to presence replicas yet.",
              (("max by (stream_name) (jetstream_consumer_num_pending)", "{{stream_name}}"),)),
        Panel("Streams as configured", "short", "1 if all streams are as configured, according to the provisioner.",
              (("max(studyroom_provisioner_streams_ok)", "ok"),), highest=1),
    )),
), "gnatsd_varz_start", ("gnatsd_", "jetstream_"), "server_id")  # fmt: skip

DASHBOARDS = (OVERVIEW, GATEWAY, PRESENCE, DOCUMENTS, HOOKS, NATS)


if __name__ == "__main__":
    write_or_check({DIRECTORY / f"{one.name}.json": json.dumps(render(one), indent=1) + "\n" for one in DASHBOARDS})
