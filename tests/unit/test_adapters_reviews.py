"""What an API server's answers mean, also those that none of ours gives: every doubt is a no."""

from collections.abc import Mapping
from typing import Any

import pytest

from openscale_byok.adapters.reviews import AskedReviews
from openscale_byok.core.caller import CREDENTIALS, Access, Caller
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import GROUP

USER = {
    "username": "system:serviceaccount:team:app",
    "uid": "u",
    "groups": ["system:serviceaccounts", "system:authenticated"],
    "extra": {"b/pod": ["p"], "a/node": ["n", "m"]},
}
GOOD = {"authenticated": True, "audiences": ["openscale-byok"], "user": USER}
APP = Caller(USER["username"], "kubernetes", "u", tuple(USER["groups"]), (("a/node", ("n", "m")), ("b/pod", ("p",))))
READ = Access("get", CREDENTIALS, "team", "scores")


class ApiServer:
    """Gives one answer, and remembers the question."""

    def __init__(self, status: Any) -> None:
        self.status = status
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def review(self, kind: str, spec: Mapping[str, Any]) -> Any:
        self.asked.append((kind, spec))
        if isinstance(self.status, Exception):
            raise self.status
        return self.status


class NoIam:
    """There is no IAM here."""

    issuers: frozenset[str] = frozenset()


class NoKeys:
    """Whose signature is on a token is not known here."""

    def signer(self, token: str) -> str:
        return ""


def reviews(status: Any, *audiences: str) -> tuple[AskedReviews, ApiServer]:
    """The adapter on an API server that gives this answer."""
    server = ApiServer(status)
    return AskedReviews(server, NoIam(), audiences or ("openscale-byok",), NoKeys()), server


async def test_a_good_token():
    """The caller is who the API server says, with everything that an authorizer may look at."""
    found, server = reviews(GOOD)
    assert await found.caller("a-token") == APP
    assert server.asked == [("TokenReview", {"token": "a-token", "audiences": ["openscale-byok"]})]


async def test_one_of_several_audiences_is_enough():
    """A token may be made for others too."""
    found, _ = reviews(GOOD | {"audiences": ["other", "b"]}, "a", "b")
    assert await found.caller("a-token") == APP


BAD = {
    "no": {"authenticated": False},
    "nothing": {},
    "no status": None,
    "a list": [GOOD],
    "text instead of true": GOOD | {"authenticated": "true"},
    "one instead of true": GOOD | {"authenticated": 1},
    "an error besides": GOOD | {"error": "marker: the token xyz is strange"},
    "an API server that knows no audiences": {"authenticated": True, "user": USER},
    "no audience": GOOD | {"audiences": []},
    "no audiences at all": GOOD | {"audiences": None},
    "another audience": GOOD | {"audiences": ["https://kubernetes.default.svc"]},
    "part of ours": GOOD | {"audiences": ["openscale"]},
    "text that holds ours": GOOD | {"audiences": "openscale-byok"},
    "refused as a question": Refused(Reason.INVALID_OBJECT, "marker"),
}


@pytest.mark.parametrize("name", BAD)
async def test_every_doubt_is_a_no(name):
    """Nothing but `authenticated: true`, without an error, for one of our audiences lets anybody in."""
    found, _ = reviews(BAD[name])
    with pytest.raises(Refused) as caught:
        await found.caller("a-token")
    assert caught.value.reason is Reason.NOT_AUTHENTICATED
    assert "marker" not in f"{caught.value!r}{caught.value.trace}"


@pytest.mark.parametrize("user", [None, {}, {"username": ""}, {"username": None}, "system:admin"])
async def test_a_user_without_a_name_is_none(user):
    """An answer that we do not understand is no answer."""
    found, _ = reviews(GOOD | {"user": user})
    with pytest.raises(Unavailable):
        await found.caller("a-token")


async def test_a_user_with_no_more_than_a_name():
    """Groups, uid and extra are not always there."""
    found, _ = reviews(GOOD | {"user": {"username": "u"}})
    assert await found.caller("a-token") == Caller("u", "kubernetes")


async def test_no_answer_is_no_no():
    """Away, or not letting us ask: whoever asks is told to come back."""
    found, _ = reviews(Unavailable(Reason.CLUSTER_UNAVAILABLE, "away"))
    with pytest.raises(Unavailable):
        await found.caller("a-token")
    with pytest.raises(Unavailable):
        await found.allowed(APP, READ)


async def test_what_is_asked():
    """Everything that is known of the caller, and the action as the authorizer names it; a subresource apart."""
    found, server = reviews({"allowed": True})
    assert await found.allowed(APP, READ)
    assert await found.allowed(Caller("iam:x", "iam"), Access("patch", "datamarts/status"))
    attributes = {"group": GROUP, "version": "*", "resource": CREDENTIALS, "subresource": ""}
    first = {"user": APP.user, "uid": "u", "groups": [*APP.groups], "extra": USER["extra"]}
    first["resourceAttributes"] = attributes | {"verb": "get", "namespace": "team", "name": "scores"}
    second = {"user": "iam:x", "uid": "", "groups": [], "extra": {}}
    named = {"resource": "datamarts", "subresource": "status", "verb": "patch", "namespace": "", "name": ""}
    second["resourceAttributes"] = attributes | named
    assert server.asked == [("SubjectAccessReview", first), ("SubjectAccessReview", second)]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"allowed": True}, True),
        ({"allowed": True, "denied": False, "reason": "RBAC: allowed by …"}, True),
        ({"allowed": True, "evaluationError": "a Role of another RoleBinding is missing"}, True),
        ({"allowed": False}, False),
        ({"allowed": False, "evaluationError": "the Role is missing"}, False),
        ({"allowed": True, "denied": True}, False),
        ({"allowed": True, "denied": None}, False),
        ({"allowed": "true"}, False),
        ({"allowed": 1}, False),
        ({}, False),
        (None, False),
        ([{"allowed": True}], False),
        (Refused(Reason.INVALID_OBJECT, "no such question"), False),
    ],
    ids=str,
)
async def test_only_a_clear_yes_is_one(status, expected):
    """Denied beats allowed; an error beside a yes leaves it one, as for the API server itself."""
    found, _ = reviews(status)
    assert await found.allowed(APP, READ) is expected
