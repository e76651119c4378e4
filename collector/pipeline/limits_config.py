"""The section `limits` of the configuration file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from collector.pipeline.admission import Limits

_DEFAULT = Limits()


class LimitsConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(default=_DEFAULT.max_body_bytes, gt=0)
    max_request_bytes: int = Field(default=_DEFAULT.max_request_bytes, gt=0)
    max_requests: int = Field(default=_DEFAULT.max_requests, gt=0)
    max_bytes_in_flight: int = Field(default=_DEFAULT.max_bytes_in_flight, gt=0)
    max_attributes: int = Field(default=_DEFAULT.max_attributes, gt=0)
    max_attribute_bytes: int = Field(default=_DEFAULT.max_attribute_bytes, gt=0)

    def limits(self) -> Limits:
        return Limits(**self.model_dump())
