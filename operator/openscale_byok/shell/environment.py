"""Variables with our prefix: one that nobody reads is refused by its name, with the name that was probably meant."""

import difflib
import re
from collections.abc import Collection, Iterable

PREFIX = "OPENSCALE_BYOK_"
CLOSE = 0.75
_HOST = "_SERVICE_HOST"
_LINK = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


def unknown(environ: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Each variable that looks like one of ours and is none, with what to say of it.

    A setting that is misspelt would have no effect, and nothing would say so. What Kubernetes sets for a Service whose
    name begins like ours (``enableServiceLinks``) is left alone. Case counts no more than where settings are read.
    """
    names = list(environ)
    services = [name.removesuffix(_HOST) for name in names if name.endswith(_HOST)]
    return {
        name: _said(name.upper(), known)
        for name in names
        if name.upper().startswith(PREFIX) and name.upper() not in known and not _is_link(name, services)
    }


def _is_link(name: str, services: Iterable[str]) -> bool:
    return any(name.startswith(f"{one}_") and _LINK.fullmatch(name[len(one) + 1 :]) for one in services)


def _said(name: str, known: Collection[str]) -> str:
    bare = {one.removeprefix(PREFIX): one for one in known}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1, cutoff=CLOSE)
    return f"there is no such setting; did you mean {bare[close[0]]}?" if close else "there is no such setting"
