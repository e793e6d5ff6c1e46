"""For each alert, series under which it fires and series under which it does not, as promtool writes series.

One sample a minute. `a+bxN`: N more samples, each b larger; `_xN`: none. Each case is that of one installation, which
has a process that is there all the time.
"""

from dataclasses import dataclass

Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    fires: Series
    quiet: Series
    minutes: int = 30
    """When it is looked at."""
    times: int = 1
    """Series with which it fires."""
    of_one: bool = True
    """Whether it is about one installation, and others do not matter."""


def gateway_up(values: str) -> Series:
    return {'up{job="gateway",instance="a"}': values}


def ready(service: str, values: str) -> Series:
    return {f'studyroom_{service}_ready{{job="{service}",instance="a"}}': values}


def connected(*gateways: str) -> Series:
    """Whether each gateway has a connection to NATS, and a provisioner that has none for a moment."""
    found = {f'studyroom_nats_connected{{job="gateway",instance="{at}"}}': values for at, values in enumerate(gateways)}
    return {**found, 'studyroom_nats_connected{job="provisioner",instance="p"}': "1x27 0x33"}


def health(answering: int, silent: int = 0, *, clustered: bool = True) -> Series:
    """The status of NATS servers, as their exporters report it, and the size of the cluster that they know."""
    size = answering + silent
    found = {f'gnatsd_healthz_status_value{{server_id="nats-{at}",value="ok"}}': "1x60" for at in range(answering)}
    found |= {
        f'gnatsd_healthz_status_value{{server_id="nats-{at}",value="unreachable"}}': "0x60"
        for at in range(answering, size)
    }
    if clustered:
        found['gnatsd_varz_jetstream_meta_cluster_size{server_id="nats-0"}'] = "3x60"
    return found


def known_leader(*leaders: str) -> Series:
    """The leader of a stream that each NATS server knows."""
    return {
        f'jetstream_stream_total_messages{{server_name="nats-{at}",stream_name="CHAT",stream_leader="{leader}",'
        f'is_stream_leader="false"}}': "9x60"
        for at, leader in enumerate(leaders)
    }


def copies(*values: str) -> Series:
    return {
        f'jetstream_stream_last_seq{{server_name="nats-{at}",stream_name="CHAT"}}': value
        for at, value in enumerate(values)
    }


def builds(*versions: str) -> Series:
    return {
        f'studyroom_build_info{{job="gateway",instance="{at}",version="{version}"}}': "1x120"
        for at, version in enumerate(versions)
    }


def routes(values: str, servers: int) -> Series:
    labels = '{server_id="nats-1"}'
    found = {f"gnatsd_varz_routes{labels}": values}
    return found | ({f"gnatsd_varz_jetstream_meta_cluster_size{labels}": f"{servers}x60"} if servers > 1 else {})


def volume(used: int) -> Series:
    labels = '{persistentvolumeclaim="data-nats-0"}'
    return {
        f"kubelet_volume_stats_used_bytes{labels}": f"{used}x60",
        f"kubelet_volume_stats_capacity_bytes{labels}": "100x60",
    }


def ended_container(reason: str) -> Series:
    labels = 'pod="gateway-1",container="gateway"'
    return {
        f'kube_pod_container_status_last_terminated_reason{{{labels},reason="{reason}"}}': "_x20 1x40",
        f"kube_pod_container_status_restarts_total{{{labels}}}": "0x20 1x40",
    }


def autoscaler(replicas: int) -> Series:
    labels = '{horizontalpodautoscaler="gateway"}'
    return {
        f"kube_horizontalpodautoscaler_status_current_replicas{labels}": f"{replicas}x60",
        f"kube_horizontalpodautoscaler_spec_max_replicas{labels}": "150x60",
    }


def lag(service: str, late: int) -> Series:
    """A thousand timers a minute, so many of them a quarter of a second late."""
    name, labels = f"studyroom_{service}_event_loop_lag_seconds_bucket", f'job="{service}",instance="a"'
    return {
        f'{name}{{{labels},le="0.01"}}': f"0+{1000 - late}x60",
        f'{name}{{{labels},le="0.25"}}': "0+1000x60",
        f'{name}{{{labels},le="+Inf"}}': "0+1000x60",
    }


def counter(name: str, labels: str, fires: str, quiet: str) -> Case:
    return Case({f"{name}{{{labels}}}": fires}, {f"{name}{{{labels}}}": quiet})


def with_connections(series: Series, count: int = 1000) -> Series:
    return {**series, 'studyroom_gateway_connections{instance="a"}': f"{count}x60"}


def joins(fast: int, slow: int) -> Series:
    name = "studyroom_gateway_join_duration_seconds"
    return {
        f'{name}_bucket{{result="joined",le="0.5"}}': f"0+{fast}x200",
        f'{name}_count{{result="joined"}}': f"0+{fast + slow}x200",
    }


def deliveries(fast: int, slow: int) -> Series:
    name = "studyroom_gateway_delivery_latency_seconds"
    return {
        f'{name}_bucket{{type="Chat",le="0.25"}}': f"0+{fast}x200",
        f'{name}_count{{type="Chat"}}': f"0+{fast + slow}x200",
    }


def descriptors(open_ones: int) -> Series:
    labels = 'job="gateway",instance="a"'
    return {f"process_open_fds{{{labels}}}": f"{open_ones}x60", f"process_max_fds{{{labels}}}": "1000x60"}


def stream(percent: int, when_full: str, *, name: str = "KV_presence") -> Series:
    return {
        f'studyroom_provisioner_stream_bytes{{stream="{name}"}}': f"{percent}x60",
        f'studyroom_provisioner_stream_max_bytes{{stream="{name}",when_full="{when_full}"}}': "100x60",
    }


def passes(good: int, bad: int) -> Series:
    """Passes of a probe in a minute."""
    name = "studyroom_probe_passes_total"
    return {f'{name}{{result="success"}}': f"0+{good}x200", f'{name}{{result="failure"}}': f"0+{bad}x200"}


def probe(success: str, failures: str) -> Series:
    """Whether the last pass of a probe succeeded, and its failures so far."""
    labels = 'job="probe",instance="a"'
    return {
        f"studyroom_probe_success{{{labels}}}": success,
        f'studyroom_probe_passes_total{{{labels},result="failure"}}': failures,
    }


def waiting(values: str) -> Series:
    labels = 'pod="gateway-1",container="gateway",reason="CrashLoopBackOff"'
    return {f"kube_pod_container_status_waiting_reason{{{labels}}}": values}


def requests(refused: int) -> Series:
    return {
        "studyroom_gateway_connections_accepted_total": "0+100x200",
        'studyroom_gateway_join_duration_seconds_count{result="joined"}': "0+100x200",
        'studyroom_gateway_messages_received_total{type="Chat"}': "0+800x200",
        'studyroom_gateway_errors_sent_total{code="presence_unavailable"}': f"0+{refused}x200",
        'studyroom_gateway_errors_sent_total{code="not_in_room"}': "0+500x200",  # the clients' own fault
    }


_ONCE, _NEVER = "0x20 1x40", "0x60"
_PER_MINUTE = "0+60x60"

CASES = {
    "ServiceDown": Case(gateway_up("1x10 0x50"), gateway_up("1x60")),
    "NoGateway": Case(ready("gateway", "1x10 0x50"), ready("gateway", "1x60")),
    "NoPresence": Case(ready("presence", "1x10 0x50"), ready("presence", "1x60")),
    "NoDocuments": Case(ready("documents", "1x10 0x50"), ready("documents", "1x60")),
    "NothingIsScraped": Case({}, {"studyroom_event_loop_tasks": "1x60"}, of_one=False),
    "NotReady": Case(ready("presence", "1x10 0x50"), ready("presence", "1x10 0x5 1x45")),
    "ProcessRestarts": counter(
        "process_start_time_seconds", 'job="gateway",instance="a"', "1x10 2x5 3x5 4x40", "1x10 2x50"
    ),
    "VersionsDiffer": Case(builds("1.0", "1.1"), builds("1.1", "1.1"), minutes=90),
    "ProvisionerAbsent": Case(ready("provisioner", "1x10 _x50"), ready("provisioner", "1x60")),
    "CertificateExpires": counter(
        "studyroom_nats_certificate_expires_timestamp_seconds", 'job="gateway",side="client"', "9000x60", "9000000x60"
    ),
    "EventLoopLag": Case(lag("gateway", 100), lag("gateway", 5)),
    "PresenceEventLoopLag": Case(lag("presence", 100), lag("presence", 5)),
    "FewFileDescriptors": Case(descriptors(900), descriptors(800)),
    "BackgroundTaskFails": counter(
        "studyroom_gateway_task_failures_total", 'job="gateway",task="lease"', "0x25 1x40", _NEVER
    ),
    "GatewayRefusesConnections": counter(
        "studyroom_gateway_handshakes_refused_total", 'code="too_many_connections"', _PER_MINUTE, _NEVER
    ),
    "AddressesAtTheirLimit": counter(
        "studyroom_gateway_handshakes_refused_total",
        'code="too_many_of_address"',
        _PER_MINUTE,
        _NEVER,
    ),
    "TokenKeysCannotBeRead": Case(
        {
            'studyroom_gateway_public_key_reads_total{instance="a",result="failed"}': "0+6x60",
            'studyroom_gateway_public_key_reads_total{instance="a",result="read"}': "5+0x60",
        },
        {
            'studyroom_gateway_public_key_reads_total{instance="a",result="failed"}': "0+6x60",
            'studyroom_gateway_public_key_reads_total{instance="a",result="read"}': "5+1x60",
        },
    ),
    "GatewaysUnbalanced": Case(
        {
            f'studyroom_gateway_connections{{instance="{name}"}}': f"{count}x90"
            for name, count in (("a", 9000), ("b", 900))
        },
        {f'studyroom_gateway_connections{{instance="{name}"}}': f"{count}x90" for name, count in (("a", 90), ("b", 9))},
        minutes=60,
    ),
    "SlowConsumersClosed": Case(
        with_connections({'studyroom_gateway_disconnects_total{code="4000"}': "0+10x60"}),
        with_connections({'studyroom_gateway_disconnects_total{code="1001"}': "0+10x60"}),
    ),
    "ConnectionsLost": Case(
        with_connections({'studyroom_gateway_disconnects_total{code="1006"}': "0+100x60"}),
        with_connections({'studyroom_gateway_disconnects_total{code="1006"}': "0+10x60"}),
    ),
    "ChatIsLostToMembers": counter("studyroom_gateway_chat_resets_total", 'instance="a"', "0x25 3x40", _NEVER),
    "ChatStorageFull": counter("studyroom_gateway_chat_storage_full_total", 'instance="a"', "0x25 3x40", _NEVER),
    "ErasureInterrupted": counter(
        "studyroom_gateway_erasures_total", 'instance="a",outcome="interrupted"', "0x25 1x40", _NEVER
    ),
    "ShardsUnanswered": counter(
        "studyroom_gateway_presence_shards_silent", 'instance="a",shards="32-39"', "0x20 8x40", "0x20 1 0x40"
    ),
    "EventsAreLostOnTheWay": Case(
        {"studyroom_gateway_rooms_behind_total": "0+30x90", "studyroom_gateway_chat_rooms_behind_total": "0x90"},
        {"studyroom_gateway_rooms_behind_total": "0x30 5x60", "studyroom_gateway_chat_rooms_behind_total": "0x90"},
        minutes=60,
    ),
    "GatewayDied": counter("studyroom_presence_lease_expirations_total", 'instance="a"', "0x25 1x40", _NEVER),
    "GhostsStay": Case(
        {
            "studyroom_presence_ghost_seconds_count": _ONCE,
            'studyroom_presence_ghost_seconds_bucket{le="16.0"}': _NEVER,
        },
        {
            "studyroom_presence_ghost_seconds_count": _ONCE,
            'studyroom_presence_ghost_seconds_bucket{le="16.0"}': _ONCE,
        },
    ),
    "PresenceRefusesRequests": counter(
        "studyroom_presence_requests_refused_total", 'outcome="unavailable"', "0+120x60", "0+6x60"
    ),
    "MembersStorageFull": counter(
        "studyroom_presence_requests_refused_total", 'outcome="storage_full"', "0x25 1x40", _NEVER
    ),
    "DocumentsRefuseRequests": counter(
        "studyroom_documents_requests_refused_total", 'outcome="unavailable"', "0+120x60", "0+6x60"
    ),
    "DocumentsStorageFull": counter("studyroom_documents_full_answers_total", 'reason="storage"', "0x25 1x40", _NEVER),
    "DocumentEditsNotStored": counter("studyroom_gateway_document_updates_not_stored_total", "", "0+120x60", "0+6x60"),
    "DocumentSnapshotsFail": counter("studyroom_documents_snapshots_total", 'outcome="failed"', "0+1x60", "0x25 1x40"),
    "DocumentUpdatesMalformed": counter("studyroom_documents_malformed_updates_total", "", "0x25 1x40", _NEVER),
    "HooksLate": counter(
        "studyroom_hooks_oldest_undelivered_seconds", 'instance="a"', "0x10 400x50", "0x10 400x3 0x47"
    ),
    "HooksLost": counter("studyroom_hooks_expired_events_total", 'instance="a"', "0x25 1x40", _NEVER),
    "HooksStandStill": Case(
        {'studyroom_hooks_groups{instance="a"}': "0x60", 'studyroom_hooks_groups{instance="b"}': "1x20 0x40"},
        {'studyroom_hooks_groups{instance="a"}': "0x60", 'studyroom_hooks_groups{instance="b"}': "1x60"},
    ),
    "PresenceMirrorRebuilds": counter(
        "studyroom_presence_mirror_rebuilds_total", 'instance="a",stream="KV_presence"', "1+1x60", "1x60"
    ),
    "LeasesDoNotMatchGateways": Case(
        with_connections({'studyroom_presence_leases{instance="p"}': "2x60"}),
        with_connections({'studyroom_presence_leases{instance="p"}': "1x60"}),
    ),
    "NatsDisconnected": Case(connected("0x60", "0x60", "1x60"), connected("0x60", "1x60", "1x60")),
    "NatsDisconnectedProcess": Case(connected("1x10 0x50", "1x60"), connected("1x26 0x34", "1x60")),
    "NatsServerUnhealthy": counter("gnatsd_healthz_status", 'server_id="nats-1"', "0x10 1x50", "0x60"),
    "NatsRoutesMissing": Case(routes("8x10 0x50", 3), routes("8x60", 3)),
    "NatsServerDown": Case(health(2, 1), health(3)),
    "NatsNoLeader": Case(known_leader("", "", ""), known_leader("nats-1", "", "nats-1")),
    "NatsReplicaLags": Case(copies("0+100x60", "0+100x10 1000x50"), copies("0+100x60", "0 0+100x59")),
    "NatsExporterAbsent": counter("gnatsd_varz_start", 'server_id="nats-1"', "1x10 _x50", "1x60"),
    "ContainerOutOfMemory": Case(ended_container("OOMKilled"), ended_container("Error")),
    "ContainerDoesNotStart": Case(waiting("0x10" + " 1 0 0" * 7), waiting("0x10 1x3 0x40")),
    "AutoscalerAtMaximum": Case(autoscaler(150), autoscaler(149)),
    "AutoscalerBlind": counter(
        "kube_horizontalpodautoscaler_status_condition",
        'horizontalpodautoscaler="gateway",condition="ScalingActive",status="false"',
        "0x10 1x50",
        "0x60",
    ),
    "VolumeNearlyFull": Case(volume(95), volume(85)),
    "BackupLate": Case(
        {'kube_cronjob_created{cronjob="backup"}': "-200000x60"},
        {
            'kube_cronjob_created{cronjob="backup"}': "-200000x60",
            'kube_cronjob_status_last_successful_time{cronjob="backup"}': "-80000x60",
        },
    ),
    "PublicCertificateExpires": counter(
        "certmanager_certificate_expiration_timestamp_seconds", 'name="studyroom-tls"', "9000x60", "9000000x60"
    ),
    "NatsSlowConsumers": counter("gnatsd_varz_slow_consumers", 'server_id="nats-1"', "0x25 1x40", _NEVER),
    "NatsReconnects": Case(
        {
            'studyroom_nats_reconnects_total{job="gateway",instance="a"}': "0+1x60",
            'studyroom_nats_connected{job="gateway",instance="a"}': "1x60",
        },
        {
            'studyroom_nats_reconnects_total{job="gateway",instance="a"}': "0x20 1x40",
            'studyroom_nats_connected{job="gateway",instance="a"}': "1x60",
        },
    ),
    "NatsStorageFull": Case(
        {
            'gnatsd_varz_jetstream_stats_storage{server_id="nats-1"}': "9x60",
            'gnatsd_varz_jetstream_config_max_storage{server_id="nats-1"}': "10x60",
        },
        {
            'gnatsd_varz_jetstream_stats_storage{server_id="nats-1"}': "7x60",
            'gnatsd_varz_jetstream_config_max_storage{server_id="nats-1"}': "10x60",
        },
    ),
    "StreamNearlyFull": Case(
        stream(90, "refuses"), {**stream(80, "refuses"), **stream(99, "drops_oldest", name="CHAT")}
    ),
    "TooManySubscriptions": counter(
        "studyroom_nats_server_errors_total",
        'job="gateway",reason="maximum subscriptions exceeded"',
        "0x25 1x40",
        _NEVER,
    ),
    "StreamsNotAsConfigured": counter("studyroom_provisioner_streams_ok", 'instance="a"', "1x10 0x50", "1x60"),
    "NotAllowedByNats": counter("studyroom_nats_refusals_total", 'job="gateway"', "0x25 3x40", _NEVER),
    "ProbeFails": Case(probe("1x10 0x50", "0x10 1+2x50"), probe("1x60", "0+1x60")),
    "ProbeAbsent": counter("studyroom_probe_success", 'job="probe",instance="a"', "1x10 _x50", "1x10 0x50"),
    # All three of each objective burn: 20 % of all events fail.
    "SloJoinLatency": Case(joins(80, 20), joins(1000, 5), minutes=150, times=3),
    "SloDeliveryLatency": Case(deliveries(80, 20), deliveries(1000, 5), minutes=150, times=3),
    "SloAvailability": Case(requests(200), requests(0), minutes=150, times=3),
    "SloProbe": Case(passes(8, 2), passes(1000, 1), minutes=150, times=3),
}

MORE = (
    ("NoGateway", Case(ready("gateway", "1x10 _x50"), ready("gateway", "1x10 0 1x50"))),
    ("ServiceDown", Case({'up{job="nats",instance="n"}': "0x60"}, {'up{job="ingress",instance="n"}': "0x60"})),
    ("NatsServerDown", Case(health(0, 1, clustered=False), health(1, clustered=False))),
    ("NatsServerDown", Case(health(2), health(3))),
    ("NatsRoutesMissing", Case(routes("0x60", 3), routes("0x60", 1))),
    (
        "BackgroundTaskFails",
        counter("studyroom_presence_task_failures_total", 'job="presence",task="mirror"', "_x25 1x40", "1x60"),
    ),
    (
        "GatewayRefusesConnections",  # one client, which tries again
        counter("studyroom_gateway_handshakes_refused_total", 'code="too_many_connections"', "0x26 40x40", "0x26 1x40"),
    ),
    (
        "ConnectionsLost",  # of few connections, one that ends
        Case(
            {
                'studyroom_gateway_disconnects_total{code="1006"}': "0x20 100+100x40",
                "studyroom_gateway_connections": "1000x20 0x40",
            },
            with_connections({'studyroom_gateway_disconnects_total{code="1006"}': "0x28 1x40"}, 4),
        ),
    ),
    ("NoDocuments", Case(ready("documents", "1x10 _x50"), {})),
    ("ProbeFails", Case(probe("0x60", "1+2x60"), probe("1x10 0x50", "0x10 1x50"))),  # a pass in half an hour
    (
        "SloProbe",  # a probe that begins, and two of whose passes fail
        Case(
            {'studyroom_probe_passes_total{result="failure"}': "_x10 0+2x200"}
            | {'studyroom_probe_passes_total{result="success"}': "_x10 0x200"},
            {'studyroom_probe_passes_total{result="failure"}': "_x140 0 2x60"}
            | {'studyroom_probe_passes_total{result="success"}': "_x140 0x60"},
            minutes=150,
            times=3,
        ),
    ),
    (
        "PublicCertificateExpires",
        counter(
            "studyroom_probe_certificate_expires_timestamp_seconds",
            'job="probe",instance="a",side="server"',
            "9000x60",
            "9000000x60",
        ),
    ),
    (
        "SloAvailability",
        Case(
            requests(0) | {'studyroom_gateway_handshakes_refused_total{code="keys_unavailable"}': "0+200x200"},
            {
                "studyroom_gateway_connections_accepted_total": "0x140 10x60",
                'studyroom_gateway_handshakes_refused_total{code="too_many_connections"}': "0x140 1x60",
            },
            minutes=150,
            times=3,
        ),
    ),
)
"""Further cases of some alerts."""
