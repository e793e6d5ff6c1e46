"""The kinds of other projects that we use, as far as we use them: anything else is refused.

They were made by hand from the custom resource definitions of prometheus-operator 0.85, the Gateway API 1.6, Envoy
Gateway 1.9 and KEDA 2.17, because no package of schemas has them.
"""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_DURATION: Schema = {
    "type": "string",
    "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _list(items: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": items}


def _kind(kind: str, spec: Schema, version: str = "monitoring.coreos.com/v1") -> Schema:
    return _object(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=_object(["name"], name=_TEXT, namespace=_TEXT, labels=_TEXTS, annotations=_TEXTS),
        spec=spec,
    )


_METRIC: Schema = {"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"}
_RULE: Schema = {
    "oneOf": [
        _object(["record", "expr"], record=_METRIC, expr=_TEXT, labels=_TEXTS),
        _object(
            ["alert", "expr"],
            alert=_TEXT, expr=_TEXT, labels=_TEXTS, annotations=_TEXTS,
            **{"for": _DURATION, "keep_firing_for": _DURATION},
        ),
    ]
}  # fmt: skip

_GROUP = _object(["name", "rules"], name=_TEXT, interval=_DURATION, rules=_list(_RULE))

SCHEMAS = {
    "PodMonitor": _kind(
        "PodMonitor",
        _object(
            ["selector", "podMetricsEndpoints"],
            jobLabel=_TEXT,
            selector=_object(["matchLabels"], matchLabels=_TEXTS),
            podMetricsEndpoints=_list(
                _object(
                    ["port"],
                    port=_TEXT,
                    path=_TEXT,
                    interval=_DURATION,
                    scrapeTimeout=_DURATION,
                    metricRelabelings=_list(
                        _object(
                            ["action"],
                            action={"enum": ["replace", "labeldrop"]},
                            sourceLabels=_list(_TEXT),
                            regex=_TEXT,
                            targetLabel=_TEXT,
                            replacement={"type": "string"},
                        )
                    ),
                )
            ),
        ),
    ),
    "PrometheusRule": _kind(
        "PrometheusRule",
        _object(["groups"], groups=_list(_GROUP)),
    ),
}

_NAME: Schema = _object(["name"], name=_TEXT)
_BACKEND = _object(["name", "port"], name=_TEXT, port={"type": "integer"})
_PATH = _object(["type", "value"], type={"enum": ["Exact", "PathPrefix", "RegularExpression"]}, value=_TEXT)
_PARAMETER = _object(["name", "value"], type={"enum": ["Exact", "RegularExpression"]}, name=_TEXT, value=_TEXT)
_TARGET = _object(
    ["group", "kind", "name"],
    group={"const": "gateway.networking.k8s.io"}, kind={"enum": ["Gateway", "HTTPRoute"]}, name=_TEXT,
)  # fmt: skip

GATEWAY_API = {
    "Gateway": _kind(
        "Gateway",
        _object(
            ["gatewayClassName", "listeners"],
            gatewayClassName=_TEXT,
            listeners=_list(
                _object(
                    ["name", "port", "protocol"],
                    name=_TEXT,
                    port={"type": "integer", "minimum": 1, "maximum": 65535},
                    protocol={"enum": ["HTTP", "HTTPS"]},
                    hostname=_TEXT,
                    tls=_object(["certificateRefs"], certificateRefs=_list(_NAME)),
                )
            ),
        ),
        "gateway.networking.k8s.io/v1",
    ),
    "HTTPRoute": _kind(
        "HTTPRoute",
        _object(
            ["parentRefs", "rules"],
            parentRefs=_list(_NAME),
            hostnames=_list(_TEXT),
            rules=_list(
                _object(
                    ["backendRefs"],
                    matches=_list(_object([], path=_PATH, queryParams=_list(_PARAMETER))),
                    backendRefs=_list(_BACKEND),
                    timeouts=_object([], request=_DURATION, backendRequest=_DURATION),
                )
            ),
        ),
        "gateway.networking.k8s.io/v1",
    ),
    "BackendTrafficPolicy": _kind(
        "BackendTrafficPolicy",
        _object(
            ["targetRefs"],
            targetRefs=_list(_TARGET),
            loadBalancer=_object(
                ["type"],
                type={"enum": ["ConsistentHash", "LeastRequest", "Random", "RoundRobin"]},
                consistentHash=_object(["type"], type={"const": "QueryParams"}, queryParams=_list(_NAME)),
            ),
            retry=_object(
                [],
                numRetries={"type": "integer", "minimum": 0},
                retryOn=_object(
                    [],
                    triggers=_list({"enum": ["connect-failure", "refused-stream", "reset", "retriable-status-codes"]}),
                    httpStatusCodes=_list({"type": "integer", "minimum": 100, "maximum": 599}),
                ),
            ),
        ),
        "gateway.envoyproxy.io/v1alpha1",
    ),
}

_POLICIES = _list(
    _object(
        ["type", "value", "periodSeconds"],
        type={"enum": ["Pods", "Percent"]}, value={"type": "integer"}, periodSeconds={"type": "integer"},
    )
)  # fmt: skip
_DIRECTION = _object([], stabilizationWindowSeconds={"type": "integer"}, policies=_POLICIES)

KEDA = {
    "ScaledObject": _kind(
        "ScaledObject",
        _object(
            ["scaleTargetRef", "triggers"],
            scaleTargetRef=_NAME,
            pollingInterval={"type": "integer"},
            minReplicaCount={"type": "integer"},
            maxReplicaCount={"type": "integer"},
            triggers=_list(
                _object(
                    ["type", "metadata"],
                    type={"enum": ["prometheus", "cpu"]},
                    metricType={"enum": ["AverageValue", "Utilization", "Value"]},
                    metadata=_TEXTS,
                )
            ),
            advanced=_object(
                [],
                horizontalPodAutoscalerConfig=_object(
                    [], behavior=_object([], scaleUp=_DIRECTION, scaleDown=_DIRECTION)
                ),
            ),
        ),
        "keda.sh/v1alpha1",
    ),
}
