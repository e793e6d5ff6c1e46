"""The names of shared documents. A name is one token of a NATS subject."""

import re
from typing import Annotated, NewType

from pydantic import AfterValidator

NAME_MAX_CHARS = 64
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME_MAX_CHARS}}}")

DocumentName = NewType("DocumentName", str)


def document_name(text: str) -> DocumentName:
    """Check the name of a document: 1 to 64 letters, digits, `-` and `_` of ASCII. Raises ValueError."""
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"not the name of a document: {text[:NAME_MAX_CHARS]!r}")
    return DocumentName(text)


DocumentNameField = Annotated[DocumentName, AfterValidator(document_name)]
