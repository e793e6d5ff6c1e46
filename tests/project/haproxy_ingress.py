"""The annotations that HAProxy's ingress controller reads, by the kind of object where it reads them.

They are those of documentation/annotations.md in haproxytech/kubernetes-ingress, as of July 2026, which the list of
handlers in pkg/annotations confirms. The controller ignores all others.
"""

_EVERYWHERE = {
    "backend-config-snippet", "check", "check-http", "check-interval", "forwarded-for", "load-balance", "pod-maxconn",
    "scale-server-slots", "send-proxy-protocol", "server-ca", "server-crt", "server-proto", "server-ssl",
    "ssl-passthrough", "timeout-check", "timeout-server",
}  # fmt: skip

_NOT_AT_SERVICES = {
    "allow-list", "auth-realm", "auth-secret", "auth-type", "blacklist", "cors-allow-credentials",
    "cors-allow-headers", "cors-allow-methods", "cors-allow-origin", "cors-enable", "cors-max-age", "deny-list",
    "path-rewrite", "rate-limit-period", "rate-limit-requests", "rate-limit-size", "rate-limit-status-code",
    "rate-limit-whitelist", "request-capture", "request-capture-len", "request-redirect", "request-redirect-code",
    "request-set-header", "response-set-header", "set-host", "src-ip-header", "ssl-redirect", "ssl-redirect-code",
    "ssl-redirect-port", "whitelist",
}  # fmt: skip

OF_INGRESSES = _EVERYWHERE | _NOT_AT_SERVICES | {"standalone-backend"}
OF_SERVICES = _EVERYWHERE | {"cookie-persistence", "cookie-persistence-no-dynamic", "route-acl", "standalone-backend"}
OF_CONFIG_MAPS = _EVERYWHERE | _NOT_AT_SERVICES | {
    "clean-certs", "client-ca", "client-crt-optional", "client-strict-sni", "cookie-persistence",
    "cookie-persistence-no-dynamic", "dontlognull", "frontend-config-snippet", "generate-certificates-signer",
    "global-config-snippet", "hard-stop-after", "http-connection-mode", "http-keep-alive", "http-server-close",
    "log-format", "log-format-tcp", "logasap", "maxconn", "nbthread", "proxy-protocol", "quic-alt-svc-max-age",
    "ssl-certificate", "stats-config-snippet", "syslog-server", "timeout-client", "timeout-client-fin",
    "timeout-connect", "timeout-http-keep-alive", "timeout-http-request", "timeout-queue", "timeout-server-fin",
    "timeout-tunnel", "tls-alpn",
}  # fmt: skip
