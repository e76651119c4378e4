"""The shop's goods: the same sixty in every service and every run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as combinations

SKU_PATTERN = r"^SKU-\d{4}$"

_MATERIALS = ("Brass", "Oak", "Canvas", "Copper", "Wool", "Glass")
_THINGS = (
    ("Compass", "navigation"), ("Sextant", "navigation"), ("Chart", "navigation"), ("Lantern", "lights"),
    ("Signal Lamp", "lights"), ("Rope", "rigging"), ("Block", "rigging"), ("Hammock", "comfort"),
    ("Tea Mug", "comfort"), ("Deck Coat", "comfort"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Product:
    sku: str
    name: str
    category: str
    price_cents: int


def all_products() -> list[Product]:
    """Sorted by SKU, SKU-0001 first."""
    return [
        Product(f"SKU-{number:04d}", f"{material} {thing}", category, 500 + (number * 379) % 9500)
        for number, ((thing, category), material) in enumerate(combinations(_THINGS, _MATERIALS), start=1)
    ]
