"""What the statuses say: conditions by kstatus, from one table of reasons.

``Ready=False, Reconciling=True`` where it may come right by itself, ``Ready=False, Stalled=True`` where a
person must act, ``Unknown`` where it cannot be checked.
"""

from openscale_byok.core.conditions.base import Wanted, merged, not_ready
from openscale_byok.core.conditions.bindings import key_usable, of_binding
from openscale_byok.core.conditions.instances import of_instance, of_unread_instance
from openscale_byok.core.conditions.report import StatusPatch, patches, told, unreported
from openscale_byok.core.conditions.sealables import checking_seal, confirmed, of_sealable, saying, shredded

__all__ = [
    "StatusPatch", "Wanted", "checking_seal", "confirmed", "key_usable", "merged", "not_ready", "of_binding",
    "of_instance", "of_sealable", "of_unread_instance", "patches", "saying", "shredded", "told", "unreported",
]  # fmt: skip
