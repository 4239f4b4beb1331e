"""Which root keys may be used, where, and with which credentials."""

import pytest

from openscale_byok.adapters.iam import api_key_form, trusted_profile_form
from openscale_byok.adapters.root_keys import Policy, RootKeyDirectory
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import Credentials, RootKeyBinding, crn
from sim.views import GUID, A, binding

PUBLIC, PRIVATE = "https://us-south.kms.cloud.ibm.com", "https://kp.internal"
WILD = ("https://*.example.com", "https://one.example.org", "http://*.plain.net")
# allow-list, default, what a binding names -> the endpoint, or None: refused
ENDPOINTS = {
    "follows from the CRN": (WILD, "", None, PUBLIC),
    "the default instead": (WILD, PRIVATE, None, PRIVATE),
    "named, and follows from the CRN": ((), "", PUBLIC, PUBLIC),
    "named, and the default": ((), PRIVATE, PRIVATE, PRIVATE),
    "named, on the list": (WILD, "", "https://one.example.org", "https://one.example.org"),
    "below a wild one": (WILD, "", "https://kp.example.com", "https://kp.example.com"),
    "deep below a wild one": (WILD, "", "https://a.b.example.com", "https://a.b.example.com"),
    "nothing on the list": ((), "", "https://kp.example.com", None),
    "the wild one's own host": (WILD, "", "https://example.com", None),
    "ends like a wild one": (WILD, "", "https://evilexample.com", None),
    "only a dot before": (WILD, "", "https://.example.com", None),
    "goes on after a wild one": (WILD, "", "https://kp.example.com.evil.net", None),
    "another scheme": (WILD, "", "http://kp.example.com", None),
    "another port": (WILD, "", "https://kp.example.com:8443", None),
    "a plain one, as allowed": (WILD, "", "http://kp.plain.net", "http://kp.plain.net"),
    "beside one without wild": (WILD, "", "https://two.example.org", None),
    "below one without wild": (WILD, "", "https://a.one.example.org", None),
    "another region": ((), "", "https://eu-de.kms.cloud.ibm.com", None),
}


@pytest.mark.parametrize(("allowed", "default", "named", "wanted"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_the_endpoint(allowed, default, named, wanted):
    """A token goes to what follows from the CRN, to the operator's own choice, or to what its owner allows."""
    policy = Policy(endpoints=allowed, default_endpoint=default)
    if wanted is not None:
        assert policy.endpoint(crn.parse(A), named) == wanted
        return
    with pytest.raises(Refused, match=r"spec\.rootKey\.endpoint") as refused:
        policy.endpoint(crn.parse(A), named)
    assert refused.value.reason is Reason.ENDPOINT_NOT_ALLOWED


ACCOUNT = A[: A.index(f":{GUID}")]
INSTANCE = f"{ACCOUNT}:{GUID}"
# CRN prefixes by namespace -> whether team-a may use root key A
ALLOWED = {
    "no list": ({}, True),
    "the key itself": ({"team-a": [A]}, True),
    "its instance": ({"team-a": [INSTANCE]}, True),
    "its instance, with a colon": ({"team-a": [f"{INSTANCE}:"]}, True),
    "its account": ({"team-a": [ACCOUNT]}, True),
    "one of two": ({"team-a": ["crn:v1:other", ACCOUNT]}, True),
    "half a key": ({"team-a": [A[:-1]]}, False),
    "half an instance": ({"team-a": [INSTANCE[:-1]]}, False),
    "half an account": ({"team-a": [ACCOUNT[:-1]]}, False),
    "more than the key": ({"team-a": [f"{A}a"]}, False),
    "the key and a colon": ({"team-a": [f"{A}:"]}, False),
    "an empty list": ({"team-a": []}, False),
    "an empty prefix": ({"team-a": [""]}, False),
    "another namespace's": ({"team-b": [A]}, False),
    "everybody's": ({"*": [ACCOUNT]}, True),
    "everybody else's": ({"team-a": [], "*": [ACCOUNT]}, False),
    "its own beside everybody's": ({"team-a": [ACCOUNT], "*": []}, True),
}


@pytest.mark.parametrize(("listed", "wanted"), ALLOWED.values(), ids=ALLOWED)
def test_who_may_use_a_root_key(listed, wanted):
    """By whole parts of the CRN, for the namespace's own list, else for everybody's; without a list, all."""
    policy = Policy(root_keys=listed)
    if wanted:
        policy.check("team-a", A)
        return
    with pytest.raises(Refused, match=r"spec\.rootKey\.crn") as refused:
        policy.check("team-a", A)
    assert refused.value.reason is Reason.ROOT_KEY_NOT_ALLOWED


API_KEY = Credentials.model_validate({"apiKeySecretRef": {"name": "kp", "key": "apikey"}})
PROFILE = Credentials.model_validate({"trustedProfile": {"id": "Profile-1", "serviceAccountName": "kp"}})
CUSTOMER = {
    "an API key": (Policy(), API_KEY, A, None),
    "no credentials": (Policy(), None, A, Reason.CREDENTIALS_MISSING),
    "neither of the two": (Policy(), Credentials(), A, Reason.CREDENTIALS_MISSING),
    "a trusted profile, off": (Policy(), PROFILE, A, Reason.TRUSTED_PROFILE_OFF),
    "a trusted profile, on": (Policy(trusted_profiles=True), PROFILE, A, None),
    "not allowed here": (Policy(root_keys={"*": ["crn:v1:other"]}), API_KEY, A, Reason.ROOT_KEY_NOT_ALLOWED),
    "no root key's CRN": (Policy(), API_KEY, INSTANCE, Reason.INVALID_OBJECT),
}


@pytest.mark.parametrize(("policy", "credentials", "root_key", "wanted"), CUSTOMER.values(), ids=CUSTOMER)
def test_a_customers_root_key(policy, credentials, root_key, wanted):
    """Refused before anything is asked of anyone: the directory's ports are not even there."""
    directory = RootKeyDirectory(None, None, None, None, policy, None)  # type: ignore[arg-type]
    if wanted is None:
        assert directory.customer(binding("a", root_key), credentials) is not None
        return
    with pytest.raises(Refused) as refused:
        directory.customer(binding("a", root_key), credentials)
    assert refused.value.reason is wanted


def test_an_endpoint_that_is_not_allowed_gets_no_token():
    """A binding that names one is refused as a whole."""
    raw = binding("a", A).model_dump(by_alias=True)
    raw["spec"]["rootKey"]["endpoint"] = "https://evil.example.net"
    directory = RootKeyDirectory(None, None, None, None, Policy(), None)  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        directory.customer(RootKeyBinding.of(raw), API_KEY)
    assert refused.value.reason is Reason.ENDPOINT_NOT_ALLOWED


def test_the_forms_of_iam():
    """As IBM's documentation spells the two grants."""
    assert api_key_form("k") == {
        "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
        "apikey": "k",
        "response_type": "cloud_iam",
    }
    assert trusted_profile_form("t", "p") == {
        "grant_type": "urn:ibm:params:oauth:grant-type:cr-token",
        "cr_token": "t",
        "profile_id": "p",
    }
