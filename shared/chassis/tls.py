"""TLS of the connection to NATS."""

import ssl

from studyroom.shared.chassis.settings import NatsSettings


def tls_context(settings: NatsSettings) -> ssl.SSLContext | None:
    """Return the TLS context; None if the settings name no CA, so that the client uses the CAs of the machine."""
    if settings.tls_ca_file is None:
        return None
    context = ssl.create_default_context(cafile=settings.tls_ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_cert_file is not None:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    return context
