"""`openscale-byok crds`: the CustomResourceDefinitions, from the models in this package alone."""

from pathlib import Path

import click

from openscale_byok.resources import schema
from openscale_byok.shell.cli.verb import Result, Verbs


@click.group(cls=Verbs)
def crds() -> None:
    """The CustomResourceDefinitions that this version works with."""


@crds.command("print")
def print_() -> Result:
    """Print them as YAML: `openscale-byok crds print | kubectl apply -f -`."""
    documents = schema.crds()
    text = "---\n".join(schema.to_yaml(document) for document in documents)
    return Result({"apiVersion": "v1", "kind": "List", "items": documents}, (text.rstrip("\n"),), bare=True)


@crds.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write to; made where it does not exist.",
)
def write(directory: Path) -> Result:
    """Write one file for each kind, and the kustomization that lists them."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in schema.files().items():
        (directory / name).write_text(text, encoding="utf-8")
        written.append(str(directory / name))
    return Result({"files": written}, tuple(written))
