"""What is in an image or an archive, as a CycloneDX document: Debian's packages and Python's, with their licences."""

from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from image_builder.debian import Package


def image(name: str, version: str, architecture: str) -> Component:
    """An image, as what a document is about."""
    purl = PackageURL("oci", None, name, version, {"arch": architecture})
    return Component(name=name, version=version, type=ComponentType.CONTAINER, purl=purl, bom_ref=str(purl))


def archive(name: str, version: str, architecture: str) -> Component:
    """An archive of a program, as what a document is about."""
    purl = PackageURL("generic", None, name, version, {"arch": architecture})
    return Component(name=name, version=version, type=ComponentType.APPLICATION, purl=purl, bom_ref=str(purl))


def document(root: Component, packages: Iterable[Package], place: Path, *, time: int) -> str:
    """The bill of materials of an image or an archive, the same for the same contents.

    Args:
        root: what it is about.
        packages: of Debian; none where the base is somebody else's.
        place: the folder that Python's packages were installed in.
        time: of the commit, in seconds since the epoch.
    """
    found = Bom(components=[*(_debian(package) for package in packages), *_python(place)])
    found.metadata.component = root
    found.register_dependency(root, found.components)
    found.metadata.timestamp = datetime.fromtimestamp(time, UTC)
    found.serial_number = uuid5(NAMESPACE_URL, str(sorted(str(part.purl) for part in found.components)))
    return JsonV1Dot6(found).output_as_string(indent=1) + "\n"


def _debian(package: Package) -> Component:
    qualifiers = {"arch": package.architecture, "distro": "bookworm"}
    purl = PackageURL("deb", "debian", package.name, package.version, qualifiers)
    return Component(
        name=package.name, version=package.version, type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl)
    )


def _python(place: Path) -> list[Component]:
    licences = LicenseFactory()
    found = [PathDistribution(info) for info in sorted(place.glob("*.dist-info"))]
    return [
        Component(
            name=each.name,
            version=each.version,
            type=ComponentType.LIBRARY,
            purl=(purl := PackageURL("pypi", None, each.name.lower().replace("_", "-"), each.version)),
            bom_ref=str(purl),
            licenses=[licences.make_from_string(text)] if (text := _licence(each)) else None,
        )
        for each in found
    ]


def _licence(of: Distribution) -> str:
    """As the package states it: the expression, else the name; no whole text."""
    stated = of.metadata.json
    said = str(stated.get("license_expression") or stated.get("license") or "")
    return said if len(said) < 100 and "\n" not in said else ""
