"""Who or what stands between us and Key Protect's no, and until when a data key may be used then.

One row for each. What somebody *in the cluster* can bring about keeps the poll's bound; a real outage keeps the limit
of the data key's cache. docs/key-lifecycle.md has the same table.
"""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.blinding import ANSWER_SECONDS, Stage, staged
from key_protect_emulator.control import Emulator
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.reasons import Reason

DOCS = Path(__file__).parents[2] / "docs" / "key-lifecycle.md"
Reach = Callable[[Stage], None]
POLL, OUTAGE = "poll", "outage"
"""The two bounds: the look after the revocation; `dataKeyCacheSeconds` after the last unwrap."""


@dataclass(frozen=True)
class Row:
    """Something that stands in between, and what holds then."""

    reach: Reach
    bound: str
    reason: Reason | None = None
    """What it is refused for in the end; None where that is Key Protect's own no."""
    profile: bool = False
    tls: bool = False
    proxied: bool = False


def _set(**values: object) -> Reach:
    def reach(stage: Stage) -> None:
        for name, value in values.items():
            setattr(stage.namespace, name, value)

    return reach


def _then_tokens_end(reach: Reach) -> Reach:
    def both(stage: Stage) -> None:
        reach(stage)
        stage.tokens_end()

    return both


def _fault(operation: str, **trouble: object) -> Reach:
    return lambda stage: stage.fault(operation, **trouble)


def _another_key(stage: Stage) -> None:
    stage.fault("metadata", status=200, body=stage.metadata_of(stage.emulator.create_root_key()))


def _another_data_key(stage: Stage) -> None:
    stage.fault("unwrap", status=200, body=json.dumps({"plaintext": b64encode(bytes(32)).decode()}))


def _replaced_while_iam_is_away(stage: Stage) -> None:
    stage.fault("iam.token", status=503)
    stage.another_identity(granted=True)


def _revoked_while_iam_is_away(stage: Stage) -> None:
    stage.fault("iam.token", status=503)
    stage.emulator.revoke(stage.service_id)


def _revoked_without_the_secret(stage: Stage) -> None:
    stage.namespace.values = None
    stage.emulator.revoke(stage.service_id)


def _proxy(**trouble: object) -> Row:
    """From here on no tunnel lasts, and this is what whoever asks for a new one gets."""

    def reach(stage: Stage) -> None:
        for name, value in trouble.items():
            setattr(stage.proxy, name, value)
        stage.proxy.cut()

    return Row(reach, OUTAGE if trouble else POLL, proxied=True)


GONE, EMPTY = _set(values=None), _set(values={"apikey": b""})
WRONG_KEY, FORBIDDEN = _set(values={"other": b"x"}), _set(forbidden=True)
NO_ACCOUNT, HANGS = _set(account=False), _set(hangs=True)
MISSING = Reason.CREDENTIALS_MISSING
ROWS = {
    "nothing": Row(lambda _: None, POLL),
    "Secret deleted": Row(GONE, POLL),
    "Secret deleted, no token left": Row(_then_tokens_end(GONE), POLL, MISSING),
    "Secret deleted, and the grant removed": Row(_revoked_without_the_secret, POLL, Reason.NOT_AUTHORIZED),
    "Secret emptied": Row(EMPTY, POLL),
    "Secret emptied, no token left": Row(_then_tokens_end(EMPTY), POLL, MISSING),
    "Secret without the key": Row(WRONG_KEY, POLL),
    "Secret without the key, no token left": Row(_then_tokens_end(WRONG_KEY), POLL, MISSING),
    "right to the Secret withdrawn": Row(FORBIDDEN, POLL),
    "right to the Secret withdrawn, no token left": Row(_then_tokens_end(FORBIDDEN), POLL, MISSING),
    "API server hangs": Row(HANGS, POLL),
    "API server hangs, no token left": Row(_then_tokens_end(HANGS), POLL, MISSING),
    "another's API key, with the grant": Row(lambda s: s.another_identity(granted=True), POLL),
    "another's API key, without the grant": Row(
        lambda s: s.another_identity(granted=False), POLL, Reason.NOT_AUTHORIZED
    ),
    "no API key of anybody": Row(_set(values={"apikey": b"cnry-none"}), POLL, Reason.CREDENTIALS_REFUSED),
    "another's API key, IAM away": Row(_replaced_while_iam_is_away, POLL, MISSING),
    "ServiceAccount deleted": Row(NO_ACCOUNT, POLL, profile=True),
    "ServiceAccount deleted, no token left": Row(_then_tokens_end(NO_ACCOUNT), POLL, MISSING, profile=True),
    "right to its tokens withdrawn, no token left": Row(_then_tokens_end(FORBIDDEN), POLL, MISSING, profile=True),
    "429 with Retry-After, once": Row(_fault("metadata", status=429, retry_after=300, times=1), POLL),
    "429 with Retry-After, on and on": Row(_fault("*", status=429, retry_after=300), OUTAGE),
    "503": Row(_fault("*", status=503), OUTAGE),
    "503 for the metadata alone": Row(_fault("metadata", status=503), OUTAGE),
    "slow answers, within the time limit": Row(_fault("metadata", delay=ANSWER_SECONDS / 4), POLL),
    "slow answers, beyond the time limit": Row(_fault("*", delay=ANSWER_SECONDS * 1.5), OUTAGE),
    "wrong TLS certificate": Row(lambda s: s.relay.show_another(), OUTAGE, tls=True),
    "IAM away, token good": Row(_fault("iam.token", status=503), POLL),
    "IAM away, token good, and the grant removed": Row(_revoked_while_iam_is_away, POLL, Reason.NOT_AUTHORIZED),
    "IAM away, no token left": Row(_then_tokens_end(_fault("iam.token", status=503)), OUTAGE),
    "redirect": Row(_fault("*", status=307), OUTAGE),
    **{f"a proxy that answers {status}": _proxy(status=status) for status in (302, 403, 407, 410, 502)},
    "a proxy that says nothing": _proxy(silent=True),
    "a proxy": _proxy(),
    "another key's metadata": Row(_another_key, POLL, Reason.CRN_MISMATCH),
    "a wrapped key that unwraps to another": Row(_another_data_key, POLL),
}
LOOKS = 2
"""One may be under way while it is revoked; the next one is bound to know."""


@pytest.fixture
async def stage(request: pytest.FixtureRequest, emulator: Emulator, tmp_path: Path) -> AsyncIterator[Stage]:
    row: Row = ROWS[request.node.callspec.params["name"]]
    async with staged(emulator, tmp_path, profile=row.profile, tls=row.tls, proxied=row.proxied) as made:
        yield made
    emulator.clear_faults()


@pytest.mark.parametrize("name", ROWS)
async def test_with_a_data_key_at_hand(stage: Stage, name: str) -> None:
    """It is used until the bound of its row, and not beyond."""
    row = ROWS[name]
    assert await stage.open() is True
    row.reach(stage)
    stage.emulator.disable(stage.crn)
    await stage.looked.pass_by(LOOKS)
    if row.bound == OUTAGE:
        assert await stage.open() is True, "an outage is no refusal"
        await stage.looked.pass_by(LOOKS)
        stage.cache_ends()
        assert isinstance(await stage.open(), ByokError)
        await stage.looked.pass_by(LOOKS)
        assert not stage.context.data_keys._entries, "past its limit it leaves the memory, unasked"
        return
    refused = await stage.open()
    assert isinstance(refused, Refused), refused
    assert refused.reason is (row.reason or Reason.KEY_DISABLED)
    assert not stage.context.data_keys._entries, "what was unwrapped is forgotten"


@pytest.mark.parametrize("name", ROWS)
async def test_with_no_data_key_at_hand(stage: Stage, name: str) -> None:
    """Nothing opens from the moment of the revocation on: Key Protect would have to be asked, and says no."""
    row = ROWS[name]
    row.reach(stage)
    stage.emulator.disable(stage.crn)
    assert isinstance(await stage.open(), ByokError)
    await stage.looked.pass_by(LOOKS)
    assert isinstance(await stage.open(), ByokError if row.bound == OUTAGE else Refused)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.reason is MISSING and not row.profile])
async def test_it_comes_back_by_itself(stage: Stage, name: str) -> None:
    """Once the credentials are as they were, the next look is good, and the data key is unwrapped anew."""
    assert await stage.open() is True
    ROWS[name].reach(stage)
    await stage.looked.pass_by(LOOKS)
    assert isinstance(await stage.open(), Refused)
    stage.emulator.clear_faults()
    stage.namespace.forbidden = stage.namespace.hangs = False
    stage.namespace.values = {"apikey": stage.api_key.encode()}
    await stage.looked.until(lambda: not stage.scope.keys["uid-a"].refused)
    assert await stage.open() is True


@pytest.mark.parametrize("name", ["Secret deleted"])
async def test_whoever_waits_for_the_secret_is_told(stage: Stage, name: str) -> None:
    """While the token at hand serves, the root key is usable, and its standing says what is missing."""
    from openscale_byok.core.conditions import key_usable

    ROWS[name].reach(stage)
    await stage.looked.pass_by(LOOKS)
    said = key_usable(stage.scope.keys["uid-a"])
    assert (said.status, said.reason) == ("True", Reason.SECRET_NOT_FOUND)
    assert "credentials.apiKeySecretRef" in said.message
    assert isinstance(await stage.open(), bool)
    assert not isinstance(said, Unavailable)


def test_the_docs_have_the_same_table() -> None:
    """Each row here is a row there, with its bound."""
    words = {POLL: "the look", OUTAGE: "the cache"}
    listed = {
        cells[1].strip(): cells[2].strip()
        for cells in (line.split("|") for line in DOCS.read_text().splitlines())
        if len(cells) >= 5
    }
    for name, row in ROWS.items():
        assert listed.get(name) == words[row.bound], name
