"""The pages that are generated while the site is built, and that are no files of the repository."""

from collections.abc import Callable

from website.client import client_page
from website.decisions import decisions_page
from website.http import http_page
from website.metrics import metrics_page
from website.python_client import python_client_page
from website.settings import settings_page

GENERATED: dict[str, Callable[[], str]] = {
    "decisions/index.md": decisions_page,
    "reference/client.md": lambda: client_page("reference/client.md"),
    "reference/http.md": http_page,
    "reference/metrics.md": metrics_page,
    "reference/python.md": python_client_page,
    "reference/settings.md": settings_page,
}
