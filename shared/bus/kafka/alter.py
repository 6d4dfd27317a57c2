"""Kafka's IncrementalAlterConfigs (KIP-339), which aiokafka lacks.

Its AlterConfigs replaces the whole configuration of a topic: what an operator has set beside ours would be gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.admin import AIOKafkaAdminClient

SET = 0  # the operation: give it this value


class IncrementalAlterConfigsResponse(Response):  # type: ignore[misc]  # aiokafka carries no types
    """Version 0 of the answer."""

    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class IncrementalAlterConfigsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka carries no types
    """Version 0 of the request."""

    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = IncrementalAlterConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(
                        ("name", String("utf-8")),
                        ("operation", Int8),
                        ("value", String("utf-8")),
                    ),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class IncrementalAlterConfigs(Request[IncrementalAlterConfigsStruct]):  # type: ignore[misc]  # no types
    """Set these configurations and leave all others."""

    API_KEY: ClassVar[int] = 44

    def __init__(self, resources: list[Any]) -> None:
        self._resources = resources

    def build(
        self, request_struct_class: type[IncrementalAlterConfigsStruct]
    ) -> IncrementalAlterConfigsStruct:
        """The request in a version that the broker knows."""
        return request_struct_class(self._resources, False)


async def alter(
    admin: AIOKafkaAdminClient, changes: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[int, str | None]]:
    """Set configurations of topics, by name; answers with an error code and text for each topic."""
    resources = [
        (ConfigResourceType.TOPIC, topic, [(name, SET, value) for name, value in new.items()])
        for topic, new in changes.items()
    ]
    answer = await admin._send_request(IncrementalAlterConfigs(resources))
    return {name: (code, text) for code, text, _, name in answer.responses}
