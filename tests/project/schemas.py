"""What the Prometheus operator's kinds may look like, as far as we use them: anything else is refused.

From the custom resource definitions of prometheus-operator 0.85, by hand, since no package of schemas has them.
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


def _kind(kind: str, spec: Schema) -> Schema:
    return _object(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "monitoring.coreos.com/v1"},
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
                _object(["port"], port=_TEXT, path=_TEXT, interval=_DURATION, scrapeTimeout=_DURATION)
            ),
        ),
    ),
    "PrometheusRule": _kind(
        "PrometheusRule",
        _object(["groups"], groups=_list(_GROUP)),
    ),
}
