"""What former versions of us wrote, put in the place of what this one has written."""

from dataclasses import replace

from openscale_byok.core.sealable import from_datamart
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.resources import DataMart
from stage.team import Team


def envelope(team: Team, name: str) -> envelopes.Envelope:
    """The envelope that is stored."""
    return envelopes.parse(team.get("DataMart", name)["status"]["sealedPassword"]["envelope"])


def as_former_version(team: Team, name: str) -> None:
    """Put a v1 of the same password in the envelope's place, as a former version of us wrote it."""
    opener = team.scene.opener()
    mart, instance = team.get("DataMart", name), team.get("OpenScaleInstance", "prod")
    secret = opener.open_all(instance, [mart]).passwords[name]
    (raw,) = opener.data_keys
    found, key = envelope(team, name), DataKey(raw)
    team.vault.add(raw)
    bare = replace(from_datamart(DataMart.of(mart), team.ids["prod"]).context, proof=None)
    text = envelopes.seal(secret.encode(), key, bare, found.wrapped, bytes(range(12)))
    team.patch("DataMart", name, {"status": {"sealedPassword": {"envelope": text}}}, status=True)
