"""A hand-over: around the delete of its source the object that was sealed from it is held by our finalizer.

Held, it cannot vanish, or be made anew under its name, while a delete is on its way (docs/architecture.md).
"""

from openscale_byok.core.findings import broken
from openscale_byok.core.sealable import Sealable, Standing
from openscale_byok.core.view import View
from openscale_byok.errors import Missing
from openscale_byok.resources import PROPERTIES_FORMAT


def hands_over(sealable: Sealable) -> bool:
    """Whether its source is deleted once it is safely sealed."""
    return sealable.sealed_source is not None and sealable.sealed_source.handover


def given_up(view: View, sealable: Sealable) -> bool:
    """Whether its source stays because it is being deleted: what is about to vanish is nobody's only copy."""
    gone = isinstance(view.note(sealable).source_trouble, Missing)
    return sealable.meta.deleting and hands_over(sealable) and not gone


def from_another(sealable: Sealable) -> bool:
    """Whether it is held for one Secret and names another by now: a delete of the former may be on its way still."""
    source, ref = sealable.sealed_source, sealable.source_ref
    if not sealable.meta.ours or source is None or ref is None or source.name is None:
        return False
    return source.name != ref.name


def idle(view: View, sealable: Sealable, standing: Standing) -> bool:
    """Whether it is held, and no delete of its source may begin as things are: it is to be free again."""
    if not sealable.meta.ours or view.note(sealable).hold_due > view.now:
        return False
    if sealable.meta.deleting or view.instance is None or view.instance.metadata.deleting:
        return True
    if view.instance.spec.suspend or view.conflict or view.properties.format > PROPERTIES_FORMAT:
        return False  # it comes to that again
    return not _goes_on(view, sealable, standing)


def _goes_on(view: View, sealable: Sealable, standing: Standing) -> bool:
    """Whether its source is still to be deleted, for what is sealed now."""
    if not hands_over(sealable) or sealable.elsewhere or sealable.unanswered:
        return False
    if standing in (Standing.UNSEALED, Standing.FLAWED) or broken(view, sealable) is not None:
        return False
    removed = sealable.condition("SourceRemoved")
    return not (sealable.ready and removed is not None and removed.status == "True")
