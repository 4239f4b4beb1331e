# ruff: noqa: INP001 -- a file of the chart, not of a package
"""`helm test`: the gateway is who its certificate says, turns strangers away, and knows whose token it is shown.

Arguments: its URL, the version that it should be of, a file with its authority's certificate (one that is not there:
those that the image trusts), and a file with a token of a ServiceAccount that may nothing.
"""

import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

CREDENTIALS = "/v1/namespaces/default/datamarts/helm-test/credentials"
SECONDS = 10


def main(url: str, version: str, authority: str, token: str) -> int:
    """Ask three questions; 0 where each is answered as it should be."""
    trusted = ssl.create_default_context(cafile=authority if Path(authority).is_file() else None)
    own = {"Authorization": f"Bearer {Path(token).read_text(encoding='ascii').strip()}"}
    for path, headers, expected, proof in (
        ("/openapi.json", {}, (200,), "its certificate is good, and it serves its description"),
        (CREDENTIALS, {}, (401,), "a stranger is turned away"),
        (CREDENTIALS, own, (403, 404), "a ServiceAccount's token is known, and one that may nothing gets nothing"),
    ):
        try:
            status, body = ask(url + path, headers, trusted)
        except OSError as error:
            print(f"FAILED: {url} cannot be asked: {getattr(error, 'reason', error)}")
            return 1
        if status not in expected:
            print(f"FAILED: {path} is answered with {status}, not with {' or '.join(map(str, expected))}")
            return 1
        if status == 200 and (found := json.loads(body)["info"]["version"]) != version:
            print(f"FAILED: the gateway is of version {found}, and this release of {version}")
            return 1
        print(f"ok: {proof} ({status})")
    return 0


def ask(url: str, headers: dict[str, str], trusted: ssl.SSLContext) -> tuple[int, bytes]:
    """One question, through no proxy; status and body."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=SECONDS) as answer:  # noqa: S310 -- https
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
