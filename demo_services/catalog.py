"""The catalog: what there is to buy, and what it costs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table, or_, select

from demo_services.clicks import add_click_route
from demo_services.errors import NotFoundError
from demo_services.products import SKU_PATTERN, all_products
from demo_services.service import Service
from demo_services.settings import Settings
from demo_services.storage import attach_database

metadata = MetaData()
products = Table(
    "products",
    metadata,
    Column("sku", String(16), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("category", String(40), nullable=False),
    Column("price_cents", Integer, nullable=False),
)
_SEED = [
    {"sku": product.sku, "name": product.name, "category": product.category, "price_cents": product.price_cents}
    for product in all_products()
]


class ProductView(BaseModel):
    sku: str
    name: str
    category: str
    price_cents: int


class ProductList(BaseModel):
    products: list[ProductView]


Limit = Annotated[int, Query(ge=1, le=100)]


def build(settings: Settings) -> Service:
    service = Service(settings, title="Catalog", description="What there is to buy, and what it costs.")
    database = attach_database(service, metadata, [(products, _SEED)])
    add_click_route(service)

    @service.app.get("/products", tags=["products"])
    async def list_products(limit: Limit = 20) -> ProductList:
        """In the order of their SKUs."""
        async with database.read() as connection:
            rows = await connection.execute(select(products).order_by(products.c.sku).limit(limit))
        return ProductList(products=[ProductView(**row) for row in rows.mappings()])

    @service.app.get("/products/{sku}", tags=["products"])
    async def get_product(sku: Annotated[str, Path(pattern=SKU_PATTERN)]) -> ProductView:
        async with database.read() as connection:
            row = (await connection.execute(select(products).where(products.c.sku == sku))).mappings().first()
        if row is None:
            raise NotFoundError(f"no product {sku!r}")
        return ProductView(**row)

    @service.app.get("/search", tags=["products"])
    async def search(q: Annotated[str, Query(min_length=1, max_length=100)], limit: Limit = 20) -> ProductList:
        """Products whose name or category contains `q`, whatever its case."""
        found = or_(products.c.name.icontains(q, autoescape=True), products.c.category.icontains(q, autoescape=True))
        async with database.read() as connection:
            rows = await connection.execute(select(products).where(found).order_by(products.c.sku).limit(limit))
        return ProductList(products=[ProductView(**row) for row in rows.mappings()])

    return service


if __name__ == "__main__":
    from demo_services.replica import run

    run("catalog", build)
