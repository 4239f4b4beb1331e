"""`openscale-byok crds`: the CustomResourceDefinitions, from the models in this package alone."""

from pathlib import Path

import click

from openscale_byok.resources import schema


@click.group()
def crds() -> None:
    """The CustomResourceDefinitions that this version works with."""


@crds.command("print")
def print_() -> None:
    """Print them as YAML: `openscale-byok crds print | kubectl apply -f -`."""
    click.echo("---\n".join(schema.to_yaml(document) for document in schema.crds()), nl=False)


@crds.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write to; made where it does not exist.",
)
def write(directory: Path) -> None:
    """Write one file for each kind, and the kustomization that lists them."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in schema.files().items():
        (directory / name).write_text(text, encoding="utf-8")
        click.echo(directory / name)
