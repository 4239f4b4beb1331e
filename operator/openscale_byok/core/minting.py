"""Whether an instance is to get another data key, and under which root key."""

from openscale_byok.core import findings
from openscale_byok.core.view import View, choose
from openscale_byok.errors import ByokError
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, MAX_RETIRING


def to_rebuild(view: View) -> bool:
    """Whether the properties are lost: no data key is recorded, and an envelope names one."""
    return not view.properties.data_keys and any(s.envelope for s in view.sealables)


def to_mint(view: View) -> str | None:
    """The root key that a new data key is to be under, or None.

    The Active key must be under the chosen root key, and answer the revision that is asked for. It gets a successor,
    too, where its root key's new version asks for one instead of a rewrap.
    """
    assert view.instance is not None  # noqa: S101 -- only asked of an instance
    choice, properties = choose(view), view.properties
    if to_rebuild(view):
        return None  # rebuild first, and if that fails, wait: a fresh key would only hide the loss
    active, left = properties.active, findings.left_behind(view)
    if choice.root_key is None or (choice.reason is not Reason.IN_FORCE and not left):
        return None
    if active is None and choice.root_key == GLOBAL and not view.sealables:
        return None  # nothing to protect yet: no key is made that a binding would replace at once
    if (
        active is not None
        and active.root_key == choice.root_key
        and not left
        and properties.data_key_revision >= view.instance.spec.data_key_revision
    ):
        return None
    if choice.binding is not None and not view.key(choice.binding).wraps:
        return None
    full = len(properties.data_keys) - (active is not None) >= MAX_RETIRING
    return None if full else choice.root_key


def failed(view: View) -> ByokError | None:
    """Why there is no data key where there should be one. A try that nobody asks for any more says nothing: of two
    operators each would remember it for another while, and correct the other until both forgot it."""
    subjects = [name for name, wanted in (("mint", to_mint(view)), ("rebuild", to_rebuild(view))) if wanted]
    return view.trouble(*subjects)
