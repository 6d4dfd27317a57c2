"""The current version of a rule document."""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from schemas import topics
from schemas.event import Event, Micros, Topic


class RuleDefined(Event, frozen=True, kw_only=True):
    """The full current `camrule/v1` document of one rule; a tombstone says it was removed."""

    type: ClassVar[str] = "rule.defined"
    topics: ClassVar[tuple[Topic, ...]] = (topics.RULES,)

    rule: str
    revision: Annotated[
        int, Meta(ge=1, description="+1 at every change, whatever its semantic version says.")
    ]
    rule_version: Annotated[str, Meta(description="Semantic version written in the document.")]
    rule_hash: Annotated[str, Meta(description="SHA-256 of the canonical document.")]
    document: dict[str, Any]
    effective_at: Micros
    author: str = ""

    @property
    def key(self) -> str:
        return self.rule

    @property
    def at(self) -> int:
        return self.effective_at
