"""Rules and the transitions of incidents over HTTP."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.cloudevents import rfc3339
from services.orchestrator.domain import Deed
from services.orchestrator.incidents import Incidents
from services.orchestrator.rules import Rules
from shared.clock import Clock
from shared.rules.schema import rule_schema
from shared.security.doors import require
from shared.security.principal import Principal

READ, WRITE = require("rules:read"), require("rules:write")
MOVE = require("incidents:write")


class RuleBody(BaseModel):
    """A `camrule/v1` document."""

    model_config = ConfigDict(extra="forbid")

    document: dict[str, Any]


class RuleChange(RuleBody):
    """A changed document; `revision` is the one that was looked at, where that matters."""

    revision: int | None = None


class LintBody(BaseModel):
    """Documents to be checked."""

    model_config = ConfigDict(extra="forbid")

    documents: Annotated[list[Any], Field(max_length=500)]


class TransitionBody(BaseModel):
    """What is asked for: ACKED, RESOLVED with an outcome, or CLOSED."""

    model_config = ConfigDict(extra="forbid")

    target: Literal["ACKED", "RESOLVED", "CLOSED"]
    outcome: Literal["tp", "fp", "unsure", ""] = ""
    reason: Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = "operator"


def make_router(rules: Rules, incidents: Incidents, clock: Clock) -> APIRouter:
    """All routes of the service."""
    router = APIRouter(prefix="/api/v1")
    _reading_routes(router, rules)
    _changing_routes(router, rules)
    _incident_routes(router, incidents, clock)
    return router


def _reading_routes(router: APIRouter, rules: Rules) -> None:
    @router.get("/rules", dependencies=[Depends(READ)])
    async def list_rules() -> dict[str, Any]:
        """The rules there are now, with what is wrong with them."""
        return {"items": await rules.all()}

    @router.get("/rules/schema", dependencies=[Depends(READ)])
    async def schema() -> dict[str, Any]:
        """JSON Schema of a rule document."""
        return rule_schema()

    @router.post("/rules/lint", dependencies=[Depends(READ)])
    async def lint(body: LintBody) -> dict[str, Any]:
        """Check documents without saving them: problems, warnings, and their inline tests."""
        results = [rules.lint(document) for document in body.documents]
        return {"ok": all(result["ok"] for result in results), "results": results}

    @router.get("/rules/{rule}", dependencies=[Depends(READ)])
    async def one(rule: str) -> dict[str, Any]:
        """One rule."""
        return await rules.one(rule)

    @router.get("/rules/{rule}/versions", dependencies=[Depends(READ)])
    async def versions(rule: str) -> dict[str, Any]:
        """All revisions of a rule, the newest first."""
        return {"items": await rules.versions(rule)}

    @router.post("/rules/{rule}/test", dependencies=[Depends(READ)])
    async def test(rule: str) -> dict[str, Any]:
        """Run a rule's inline tests."""
        return await rules.test(rule)


def _changing_routes(router: APIRouter, rules: Rules) -> None:
    @router.post("/rules", status_code=201)
    async def add(body: RuleBody, caller: Annotated[Principal, Depends(WRITE)]) -> dict[str, Any]:
        """Add a rule; it counts from two seconds later on."""
        return await rules.add(body.document, caller.subject)

    @router.put("/rules/{rule}")
    async def change(
        rule: str, body: RuleChange, caller: Annotated[Principal, Depends(WRITE)]
    ) -> dict[str, Any]:
        """Change a rule; the change counts from two seconds later on."""
        return await rules.change(rule, body.document, caller.subject, body.revision)

    @router.delete("/rules/{rule}", status_code=204, response_class=Response)
    async def remove(rule: str, caller: Annotated[Principal, Depends(WRITE)]) -> None:
        """Remove a rule; its revisions and incidents stay."""
        await rules.remove(rule, caller.subject)


def _incident_routes(router: APIRouter, incidents: Incidents, clock: Clock) -> None:
    @router.post("/incidents/{incident}/transitions", status_code=201)
    async def move(
        incident: str,
        body: TransitionBody,
        caller: Annotated[Principal, Depends(MOVE)],
        idempotency_key: Annotated[str | None, Header(max_length=128)] = None,
    ) -> dict[str, Any]:
        """Acknowledge, resolve or close an incident. A repeated Idempotency-Key changes nothing more."""
        deed = Deed(
            actor=caller.subject,
            reason=body.reason or "operator",
            at=clock.now(),
            outcome=body.outcome,
        )
        moves = await incidents.move(incident, body.target, deed, request=idempotency_key)
        return {
            "incident": incident,
            "state": moves[-1].target,
            "transitions": [
                {
                    "seq": one.seq,
                    "source": one.source,
                    "target": one.target,
                    "at": rfc3339(one.moved_at),
                    "actor": one.actor,
                    "reason": one.reason,
                    "outcome": one.outcome,
                }
                for one in moves
            ],
        }
