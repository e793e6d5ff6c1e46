"""Which published keys are of use."""

import pytest

from studyroom.gateway.auth.key_ring import BadKeys, PublicKey, read_keys
from tests.support.issuer import Json, ec_key, ed_key, rsa_key

RSA, EC, ED = rsa_key(), ec_key(), ed_key()


def listed(*keys: Json) -> tuple[PublicKey, ...]:
    return read_keys({"keys": list(keys)})


@pytest.mark.parametrize(
    "useless",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa", "alg": "RS256"},
        RSA.public(use="enc"),
        RSA.public(key_ops=["encrypt"]),
        RSA.public(key_ops="verify"),
        RSA.public(alg="HS256"),
        RSA.public(alg="ES256"),
        RSA.public(alg="RSA-OAEP"),
        RSA.public(d="AQAB"),
        RSA.public(n="!"),
        RSA.public(n=None),
        RSA.public(kty="EC"),
        EC.public(crv="secp256k1"),
        EC.public(crv="P-384"),
        EC.public(x="AAAA"),
        ED.public(crv="X25519"),
        rsa_key(bits=1024).public(),
        {"kty": "new"},
        {},
    ],
    ids=range(19),  # the keys differ from run to run
)
def test_a_key_that_cannot_check_signatures_is_passed_over(useless: Json):
    assert [key.kid for key in listed(useless, EC.public())] == ["ec"]
    with pytest.raises(BadKeys):
        listed(useless)


@pytest.mark.parametrize(
    "document", [None, [], "keys", {}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [1, None]}]
)
def test_a_document_other_than_a_key_set_is_refused(document: object):
    with pytest.raises(BadKeys):
        read_keys(document)
