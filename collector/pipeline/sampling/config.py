"""
The section `processors` of the configuration file: `tail_sampling`, with the keys of the OpenTelemetry Collector's
processor of that name. Without it every trace is kept.

    processors:
      tail_sampling:
        decision_wait: 10s          # from the first span of a trace
        num_traces: 50000           # that wait; of more the oldest are decided early
        decision_cache: {sampled_cache_size: 100000, non_sampled_cache_size: 500000}
        policies:
          - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
          - name: slow checkout
            type: and
            and:
              and_sub_policy:
                - {name: route, type: string_attribute, string_attribute: {key: http.route, values: [/checkout]}}
                - {name: slow, type: latency, latency: {threshold_ms: 300}}
          - {name: some of each, type: operation_floor, operation_floor: {traces_per_minute: 5}}   # of our own
          - {name: rest, type: rate_limiting, rate_limiting: {spans_per_second: 200}}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import re2
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from collector.model.go_duration import parse_go_duration_nano
from collector.model.telemetry import StatusCode
from collector.pipeline.sampling.policy import (
    AlwaysSample,
    And,
    Attribute,
    Latency,
    Named,
    OperationFloor,
    Policy,
    Probabilistic,
    RateLimiting,
    SpanCount,
    StatusCodes,
)
from collector.storage.traces.held import AttributeCondition

MAX_POLICIES = 50
_UNBUILT = ("ottl_condition", "composite", "trace_state", "trace_flags", "bytes_limiting")
_KINDS = (
    "always_sample",
    "latency",
    "status_code",
    "probabilistic",
    "rate_limiting",
    "span_count",
    "string_attribute",
    "numeric_attribute",
    "boolean_attribute",
    "and",
    "drop",
    "operation_floor",
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _seconds(value: Any) -> Any:
    return parse_go_duration_nano(value) / 1e9 if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=3600)]


class LatencyConfig(_Section):
    threshold_ms: int = Field(ge=0)
    upper_threshold_ms: int = Field(default=0, ge=0)


class StatusCodeConfig(_Section):
    status_codes: tuple[Literal["OK", "ERROR", "UNSET"], ...] = Field(min_length=1)


class ProbabilisticConfig(_Section):
    sampling_percentage: float = Field(ge=0)
    hash_salt: str = Field(default=Probabilistic(0).salt, min_length=1)


class RateLimitingConfig(_Section):
    spans_per_second: int = Field(gt=0)


class SpanCountConfig(_Section):
    min_spans: int = Field(default=0, ge=0)
    max_spans: int = Field(default=0, ge=0)


class StringAttributeConfig(_Section):
    key: str = Field(min_length=1)
    values: tuple[str, ...] = Field(min_length=1, max_length=1000)
    enabled_regex_matching: bool = False
    cache_max_size: int = 0  # of the Collector's matches; without effect here

    @model_validator(mode="after")
    def _usable(self) -> StringAttributeConfig:
        for pattern in self.values if self.enabled_regex_matching else ():
            try:
                re2.compile(pattern)
            except re2.error as error:
                raise ValueError(f"pattern {pattern!r} is not RE2: {error}") from error
        return self


class NumericAttributeConfig(_Section):
    key: str = Field(min_length=1)
    min_value: float | None = None
    max_value: float | None = None


class BooleanAttributeConfig(_Section):
    key: str = Field(min_length=1)
    value: bool


class OperationFloorConfig(_Section):
    traces_per_minute: int = Field(gt=0)


class PolicyConfig(_Section):
    name: str = Field(min_length=1)
    type: str
    latency: LatencyConfig | None = None
    status_code: StatusCodeConfig | None = None
    probabilistic: ProbabilisticConfig | None = None
    rate_limiting: RateLimitingConfig | None = None
    span_count: SpanCountConfig | None = None
    string_attribute: StringAttributeConfig | None = None
    numeric_attribute: NumericAttributeConfig | None = None
    boolean_attribute: BooleanAttributeConfig | None = None
    operation_floor: OperationFloorConfig | None = None
    and_: AndConfig | None = Field(default=None, alias="and")
    drop: DropConfig | None = None

    @field_validator("type")
    @classmethod
    def _built(cls, kind: str) -> str:
        if kind in _UNBUILT:
            raise ValueError(f"policy type {kind} is not supported; supported are {', '.join(_KINDS)}")
        if kind not in _KINDS:
            raise ValueError(f"there is no policy type {kind}; there are {', '.join(_KINDS)}")
        return kind

    @model_validator(mode="after")
    def _complete(self) -> PolicyConfig:
        if self.type != "always_sample" and self._settings is None:
            raise ValueError(f"policy {self.name} of type {self.type} lacks its section {self.type}")
        return self

    @property
    def _settings(self) -> Any:
        return getattr(self, "and_" if self.type == "and" else self.type)

    def policy(self, conditions: list[AttributeCondition]) -> Policy:
        """
        Args:
            conditions: What the store is to evaluate; this policy's are added.
        """
        settings = self._settings
        match self.type:
            case "latency":
                return Latency(settings.threshold_ms, settings.upper_threshold_ms)
            case "status_code":
                return StatusCodes(frozenset(StatusCode[each] for each in settings.status_codes))
            case "probabilistic":
                return Probabilistic(settings.sampling_percentage / 100, settings.hash_salt)
            case "rate_limiting":
                return RateLimiting(settings.spans_per_second)
            case "span_count":
                return SpanCount(settings.min_spans, settings.max_spans)
            case "operation_floor":
                return OperationFloor(settings.traces_per_minute)
            case "and":
                return And([each.policy(conditions) for each in settings.and_sub_policy])
            case "drop":
                return And([each.policy(conditions) for each in settings.drop_sub_policy])
            case "string_attribute" | "numeric_attribute" | "boolean_attribute":
                conditions.append(_condition(settings))
                return Attribute(conditions[-1], len(conditions) - 1)
        return AlwaysSample()


class _SubPolicyConfig(PolicyConfig):
    """Of `and` and `drop`, which do not nest."""

    @field_validator("type")
    @classmethod
    def _flat(cls, kind: str) -> str:
        if kind in ("and", "drop"):
            raise ValueError(f"a policy of type {kind} cannot be part of another")
        return kind


class AndConfig(_Section):
    and_sub_policy: tuple[_SubPolicyConfig, ...] = Field(min_length=1, max_length=MAX_POLICIES)


class DropConfig(_Section):
    drop_sub_policy: tuple[_SubPolicyConfig, ...] = Field(min_length=1, max_length=MAX_POLICIES)


class DecisionCacheConfig(_Section):
    # There 0, which is none; here a decision is 25 bytes on disk.
    sampled_cache_size: int = Field(default=100_000, gt=0)
    non_sampled_cache_size: int = Field(default=500_000, gt=0)


class TailSamplingConfig(_Section):
    decision_wait: Seconds = 30.0  # as there
    num_traces: int = Field(default=50_000, gt=0)  # as there
    expected_new_traces_per_sec: int = 0  # there for the allocation of memory; without effect here
    decision_cache: DecisionCacheConfig = DecisionCacheConfig()
    policies: tuple[PolicyConfig, ...] = Field(min_length=1, max_length=MAX_POLICIES)

    @field_validator("policies")
    @classmethod
    def _distinct(cls, policies: tuple[PolicyConfig, ...]) -> tuple[PolicyConfig, ...]:
        names = [each.name for each in policies]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"there are two policies named {min(doubled)}")
        return policies

    def named(self) -> tuple[list[Named], list[AttributeCondition]]:
        """The policies, with nothing used of their rates, and what the store is to evaluate for them."""
        conditions: list[AttributeCondition] = []
        policies = [Named(each.name, each.policy(conditions), each.type == "drop") for each in self.policies]
        return policies, conditions


class ProcessorsConfig(_Section):
    tail_sampling: TailSamplingConfig | None = None


def _condition(
    settings: StringAttributeConfig | NumericAttributeConfig | BooleanAttributeConfig,
) -> AttributeCondition:
    match settings:
        case StringAttributeConfig():
            return AttributeCondition(key=settings.key, texts=settings.values, patterns=settings.enabled_regex_matching)
        case NumericAttributeConfig():
            return AttributeCondition(key=settings.key, least=settings.min_value, most=settings.max_value)
        case BooleanAttributeConfig():
            return AttributeCondition(key=settings.key, texts=("true" if settings.value else "false",))


for _model in (PolicyConfig, _SubPolicyConfig, AndConfig, DropConfig, TailSamplingConfig):
    _model.model_rebuild()
