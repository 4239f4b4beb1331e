"""An image in the OCI image format, written as a layout in one tar: what containerd, kind, skopeo and Docker read.

Source: OCI image-spec v1.1, image-layout.md, config.md, manifest.md, image-index.md.
"""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from image_builder.errors import BuildError
from image_builder.layer import Layer, sha256

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST_TYPES = (_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_INDEX_TYPES = (_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")


@dataclass(frozen=True, slots=True)
class Stored:
    """Something stored by its digest."""

    media_type: str
    digest: str
    raw: bytes

    def descriptor(self, **more: Any) -> dict[str, Any]:  # noqa: ANN401 -- JSON
        """How others name it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.raw), **more}


@dataclass(frozen=True, slots=True)
class Start:
    """How the image runs."""

    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]
    user: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Base:
    """The layers that an image begins with, and what their own configuration says."""

    layers: tuple[Stored, ...] = ()
    diff_ids: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """One architecture's image: its manifest, and everything that the manifest names."""

    architecture: str
    manifest: Stored
    parts: tuple[Stored, ...]


def image(architecture: str, base: Base, layers: Sequence[Layer], start: Start, *, time: int) -> Image:
    """Put an image together."""
    stored = (*base.layers, *(Stored(_LAYER, found.digest, found.raw) for found in layers))
    created = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kept = [line for line in base.environment if line.split("=", 1)[0] not in start.environment]
    config = _json(
        _CONFIG,
        {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {
                "User": start.user,
                "Env": [*kept, *(f"{name}={value}" for name, value in start.environment.items())],
                "Entrypoint": list(start.entrypoint),
                "WorkingDir": "/",
                "Labels": dict(start.labels),
            },
            "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, *(found.diff_id for found in layers)]},
            "history": [
                *({"created": created, "created_by": f"base {base.digest}"} for _ in base.layers),
                *({"created": created, "created_by": found.comment} for found in layers),
            ],
        },
    )
    manifest = _json(
        _MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": config.descriptor(),
            "layers": [part.descriptor() for part in stored],
            "annotations": {"org.opencontainers.image.created": created, **start.labels},
        },
    )
    return Image(architecture, manifest, (config, *stored))


def write(images: Sequence[Image], name: str, target: Path) -> str:
    """Write a layout of one image for each architecture; the digest that names them all.

    Args:
        images: at least one.
        name: the full reference: registry, repository and tag.
        target: the tar to write.
    """
    manifests = [
        found.manifest.descriptor(platform={"os": "linux", "architecture": found.architecture}) for found in images
    ]
    index = _json(_INDEX, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests})
    top = index if len(images) > 1 else images[0].manifest
    named = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    entry = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [top.descriptor(annotations=named)]}
    parts = {part.digest: part.raw for found in images for part in (found.manifest, *found.parts)}
    if top is index:
        parts[index.digest] = index.raw
    files = {f"blobs/{digest.replace(':', '/')}": raw for digest, raw in sorted(parts.items())}
    files |= {"index.json": _bytes(entry), "oci-layout": _bytes({"imageLayoutVersion": "1.0.0"})}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, raw in files.items():
            described = tarfile.TarInfo(path)
            described.size = len(raw)
            tar.addfile(described, io.BytesIO(raw))
    return top.digest


def read_base(layout: Path, architecture: str) -> Base:
    """The base image in somebody else's layout: `skopeo copy docker://IMAGE oci-archive:FILE` writes one.

    Raises:
        BuildError: it is no layout, or has nothing for this architecture.
    """
    try:
        with tarfile.open(layout) as tar:
            files = {m.name.removeprefix("./"): _content(tar, m) for m in tar if m.isfile()}
        digest, manifest = _pick(files, json.loads(files["index.json"])["manifests"], architecture)
        config = json.loads(files[_path(manifest["config"]["digest"])])
        layers = [
            Stored(part["mediaType"], part["digest"], files[_path(part["digest"])]) for part in manifest["layers"]
        ]
        return Base(tuple(layers), tuple(config["rootfs"]["diff_ids"]), tuple(config["config"].get("Env", ())), digest)
    except (OSError, KeyError, ValueError, TypeError, tarfile.TarError) as error:
        raise BuildError(f"--base {layout.name}: no OCI layout in a tar ({type(error).__name__}: {error})") from None


def _pick(files: Mapping[str, bytes], found: Sequence[Any], architecture: str) -> tuple[str, Any]:
    """The manifest for an architecture, through however many indexes."""
    for entry in found:
        document = json.loads(files[_path(entry["digest"])])
        if entry["mediaType"] in _INDEX_TYPES:
            return _pick(files, document["manifests"], architecture)
        if entry["mediaType"] in _MANIFEST_TYPES:
            config = json.loads(files[_path(document["config"]["digest"])])
            if config["architecture"] == architecture:
                return entry["digest"], document
    raise ValueError(f"nothing for linux/{architecture}")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = tar.extractfile(member)
    return opened.read() if opened is not None else b""


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(media_type: str, document: Mapping[str, Any]) -> Stored:
    raw = _bytes(document)
    return Stored(media_type, sha256(raw), raw)


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
