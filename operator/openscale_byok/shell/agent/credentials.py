"""What the gateway gives: the credentials of one data mart, parsed once and strictly."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Credentials(BaseModel):
    """The body of ``GET /v1/namespaces/{namespace}/datamarts/{name}/credentials``.

    What a later version of the gateway adds is left out.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    hostname: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65_535)]
    db: Annotated[str, Field(min_length=1)]
    username: Annotated[str, Field(min_length=1)]
    password: Annotated[str, Field(min_length=1, repr=False)]
    tls: Literal["VerifyFull", "Require", "Disable"]
    revision: int | str
    schema_: Annotated[str | None, Field(alias="schema")] = None
    type: str | None = None
    ca: str | None = None

    def given(self) -> dict[str, int | str]:
        """Every field that is there, under the gateway's own name and in this order."""
        fields: dict[str, int | str] = self.model_dump(by_alias=True, exclude_none=True)
        return fields


def parse(body: bytes) -> Credentials | None:
    """The credentials in a body; none where it is something else. Why is not said: it could quote a password."""
    try:
        return Credentials.model_validate_json(body)
    except ValidationError:
        return None
