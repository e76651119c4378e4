"""What an order is: to those who place it, to those who hear of it, and to the database."""

from __future__ import annotations

from pydantic import BaseModel, Field


class OrderLine(BaseModel):
    sku: str = Field(max_length=16)
    quantity: int = Field(ge=1, le=100)
    price_cents: int = Field(ge=0)


class OrderPlaced(BaseModel):
    """The event `order.placed`. Delivered at least once: `order_id` says whether it was seen before."""

    order_id: str = Field(min_length=1, max_length=64)
    user: str = Field(max_length=64)
    lines: list[OrderLine] = Field(min_length=1, max_length=50)
    total_cents: int = Field(ge=0)
    placed_at_unix_ms: int
