"""The click stream: what shoppers looked at next. Catalog and recommendation both take clicks."""

from __future__ import annotations

import uuid

from pydantic import BaseModel, ConfigDict, Field

from demo_services import streams
from demo_services.products import SKU_PATTERN
from demo_services.service import Service


class Click(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    sku: str = Field(pattern=SKU_PATTERN, description="what was clicked")
    seen_with: str | None = Field(None, pattern=SKU_PATTERN, description="the product beside which it was shown")


class ClickEvent(Click):
    id: str = Field(min_length=1, max_length=64)


class ClickAccepted(BaseModel):
    id: str


def add_click_route(service: Service) -> None:
    @service.app.post("/clicks", status_code=202, response_model=ClickAccepted, tags=["clicks"])
    async def record_click(click: Click) -> ClickAccepted:
        """Acknowledged once it is in the stream."""
        event = ClickEvent(id=uuid.uuid4().hex, **click.model_dump())
        await service.bus.publish(streams.CLICK_RECORDED, event.model_dump_json().encode(), message_id=event.id)
        return ClickAccepted(id=event.id)
