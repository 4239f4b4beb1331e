"""Cloud Resource Names of root keys: their shape, their parts, and the endpoint that follows from them.

Source: IBM Cloud's "Cloud Resource Names" and Key Protect's "Regions and endpoints".
"""

import re
from dataclasses import dataclass

_GUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ROOT_KEY_PATTERN = (
    "^crn:v1:[a-z0-9-]+:(public|dedicated|local|private):(kms|hs-crypto):[a-z0-9-]+:"
    f"a/[0-9a-f]{{32}}:{_GUID}:key:{_GUID}$"
)
INSTANCE_PATTERN = "^crn:v1:([^:]*:){5}[^:]+:{0,3}$"
MAX_CHARACTERS = 256

NOT_AN_INSTANCE = (
    "this is the CRN of an instance; use the root key's, which ends in ':key:' and the key id "
    "(Key Protect's console shows it in the key's details)"
)
NOT_A_ROOT_KEY = (
    "must be the CRN of a root key: crn:v1:bluemix:public:kms:<region>:a/<account>:<Key Protect instance>:key:<key id>"
)


@dataclass(frozen=True, slots=True)
class RootKeyCRN:
    """The parts of a root key's CRN that a call needs."""

    text: str
    flavour: str  # kms or hs-crypto
    region: str
    account: str
    instance: str
    key: str

    @property
    def default_endpoint(self) -> str:
        """The public endpoint that follows from the CRN; a Dedicated one does not, the binding names it."""
        if self.flavour == "hs-crypto":
            return f"https://{self.instance}.api.{self.region}.hs-crypto.appdomain.cloud"
        return f"https://{self.region}.kms.cloud.ibm.com"


def parse(text: str) -> RootKeyCRN:
    """Take a root key's CRN apart.

    Raises:
        ValueError: it is not one; the text says what it should look like.
    """
    if re.fullmatch(ROOT_KEY_PATTERN, text) is None or len(text) > MAX_CHARACTERS:
        raise ValueError(NOT_AN_INSTANCE if re.fullmatch(INSTANCE_PATTERN, text) else NOT_A_ROOT_KEY)
    _, _, _, _, flavour, region, scope, instance, _, key = text.split(":", 9)
    return RootKeyCRN(text, flavour, region, scope.removeprefix("a/"), instance, key)
