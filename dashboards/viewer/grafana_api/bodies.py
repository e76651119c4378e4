"""What the API takes, with bounds. Names are Grafana's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=190)]
Uid = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,40}$")]
Text = Annotated[str, Field(max_length=10_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SourceBody(BaseModel):
    model_config = ConfigDict(extra="allow")  # data sources have fields of their own

    name: Name
    type: Name
    uid: Uid | None = None
    url: str = Field(default="", max_length=2000)


class FolderBody(_Body):
    title: Name
    uid: Uid | None = None


class SaveBody(_Body):
    dashboard: dict[str, Any]
    folderUid: str = ""  # noqa: N815  (Grafana's name)
    overwrite: bool = False


class AnnotationBody(_Body):
    text: Text
    time: int | None = Field(default=None, ge=0, lt=1 << 53)
    timeEnd: int | None = Field(default=None, ge=0, lt=1 << 53)  # noqa: N815
    tags: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=50)
    dashboardUID: Annotated[str, Field(max_length=40)] | None = None  # noqa: N815
    panelId: int | None = None  # noqa: N815


class AnnotationChange(_Body):
    text: Text | None = None
    time: int | None = Field(default=None, ge=0, lt=1 << 53)
    timeEnd: int | None = Field(default=None, ge=0, lt=1 << 53)  # noqa: N815
    tags: list[Annotated[str, Field(max_length=100)]] | None = Field(default=None, max_length=50)
