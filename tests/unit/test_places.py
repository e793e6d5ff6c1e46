"""How many long requests a gateway works on at a time."""

import pytest

from studyroom.gateway.document_http.places import Places
from studyroom.gateway.http.access import HttpRefusal


def test_a_place_is_given_back_at_the_end_and_after_a_failure():
    places = Places(1, "exports")
    for _ in range(2):
        with places.take(), pytest.raises(HttpRefusal) as refused, places.take():
            pass
        assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "5"})
        with pytest.raises(ZeroDivisionError), places.take():
            raise ZeroDivisionError
