"""
How OTLP metrics become series: the `otlp` section of Prometheus's configuration file.

Source: Prometheus 3, config/config.go, OTLPConfig.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from collector.receivers.naming import Strategy

IDENTITY = frozenset({"service.name", "service.namespace", "service.instance.id"})  # what job and instance are made of


class OtlpConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    translation_strategy: Strategy = Strategy.UNDERSCORES_WITH_SUFFIXES
    promote_resource_attributes: tuple[str, ...] = ()
    promote_all_resource_attributes: bool = False
    ignore_resource_attributes: tuple[str, ...] = ()
    keep_identifying_resource_attributes: bool = False  # in target_info
    promote_scope_metadata: bool = False  # as otel_scope_ labels
    convert_histograms_to_nhcb: Literal[False] = False
    # Off, a label may begin with one underscore; and off, underscores in a row become one.
    label_name_underscore_sanitization: bool = True
    label_name_preserve_multiple_underscores: bool = True

    @model_validator(mode="before")
    @classmethod
    def _built(cls, raw: object) -> object:
        if isinstance(raw, dict) and raw.get("convert_histograms_to_nhcb"):
            raise ValueError("convert_histograms_to_nhcb: histograms with custom buckets are not supported")
        return raw

    @model_validator(mode="after")
    def _attributes(self) -> Self:
        if self.promote_all_resource_attributes and self.promote_resource_attributes:
            raise ValueError(
                "'promote_all_resource_attributes' and 'promote_resource_attributes' "
                "cannot be configured simultaneously"
            )
        if self.ignore_resource_attributes and not self.promote_all_resource_attributes:
            raise ValueError(
                "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true"
            )
        for names in (self.promote_resource_attributes, self.ignore_resource_attributes):
            for name in names:
                if not name.strip():
                    raise ValueError("empty OTel resource attribute")
                if names.count(name) > 1:
                    raise ValueError(f'duplicated OTel resource attribute "{name}"')
        return self

    def promoted(self, name: str) -> bool:
        """Whether a resource attribute becomes a label of every series."""
        if self.promote_all_resource_attributes:
            return name not in self.ignore_resource_attributes and name not in IDENTITY
        return name in self.promote_resource_attributes
