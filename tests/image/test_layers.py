"""Layers and layouts, without a build: the same bytes for the same contents, and nothing of who packed them."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from image_builder.errors import BuildError
from image_builder.layer import layer
from image_builder.oci import Base, Start, image, read_base, write

START = Start(("python3", "-m", "x"), {"A": "1"}, "65532:65532", {"org.opencontainers.image.title": "x"})
TIME = 1_700_000_000


def folder(root: Path, *, reverse: bool = False) -> Path:
    names = sorted(["bin/run", "etc/a", "etc/b", "tmp/.keep"], reverse=reverse)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "bin/run").chmod(0o4755)
    (root / "etc/c").symlink_to("a")
    return root


def entries(raw: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) as tar:
        return {entry.name: entry for entry in tar}


def test_who_packs_it_and_when_does_not_show(tmp_path):
    """The order of writing, times, owners and special bits of files leave no trace in a layer."""
    one, other = folder(tmp_path / "one"), folder(tmp_path / "other", reverse=True)
    os.utime(other / "etc/a", (1, 1))
    (other / "etc/b").chmod(0o600)
    first, second = (layer(root, "test", time=TIME) for root in (one, other))
    assert first.digest == second.digest
    found = entries(first.raw)
    assert {(0, 0, "", "", TIME)} == {(e.uid, e.gid, e.uname, e.gname, e.mtime) for e in found.values()}
    assert tuple(found[name].mode for name in ("bin/run", "etc/b", "tmp")) == (0o755, 0o644, 0o1777)


def test_a_second_name_of_a_file_is_a_file(tmp_path):
    """Hard links are packed as files: which name came first must not matter, and none may lead out of the layer."""
    root = folder(tmp_path / "root")
    os.link(root / "etc/a", root / "etc/z")
    found = entries(layer(root, "test", time=TIME).raw)
    assert all(entry.isreg() for name, entry in found.items() if name in ("etc/a", "etc/z"))


@pytest.mark.parametrize("architectures", [["amd64"], ["amd64", "arm64"]], ids=len)
def test_what_is_written_can_be_a_base(tmp_path, architectures):
    """A layout reads back, for each architecture in it, and for none that is not."""
    packed = layer(folder(tmp_path / "root"), "test", time=TIME)
    images = [image(architecture, Base(), [packed], START, time=TIME) for architecture in architectures]
    write(images, "registry.example/x:1", tmp_path / "x.tar")
    for architecture in architectures:
        base = read_base(tmp_path / "x.tar", architecture)
        assert (packed.diff_id,) == base.diff_ids
        assert packed.raw == base.layers[0].raw
        above = image(architecture, base, [packed], START, time=TIME)
        config = json.loads(above.parts[0].raw)
        assert [packed.diff_id] * 2 == config["rootfs"]["diff_ids"]
        assert config["config"]["Env"] == ["A=1"]
    with pytest.raises(BuildError, match="nothing for linux/s390x"):
        read_base(tmp_path / "x.tar", "s390x")


def test_a_base_that_is_none_is_named(tmp_path):
    """A file that is no layout is refused by name."""
    (tmp_path / "no.tar").write_bytes(b"no")
    with pytest.raises(BuildError, match=r"--base no\.tar: no OCI layout"):
        read_base(tmp_path / "no.tar", "amd64")
