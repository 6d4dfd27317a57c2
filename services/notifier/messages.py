"""What is said about an alert: the texts from Jinja templates, the webhook's body around them. No image travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2
import msgspec

from schemas.cloudevents import rfc3339

if TYPE_CHECKING:
    from schemas.events.alert_raised import AlertRaised

TEMPLATE = "alert.raised"


class Messages:
    """Renders alerts. `base_url` is where people reach the console, without a slash at the end."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        loader = jinja2.PackageLoader("services.notifier", "templates")
        self._templates = jinja2.Environment(
            loader=loader,
            undefined=jinja2.StrictUndefined,
            autoescape=jinja2.select_autoescape(("html", "html.j2")),
            trim_blocks=True,
            keep_trailing_newline=False,
        )

    def webhook(self, alert: AlertRaised, *, camera_name: str, incident_state: str) -> bytes:
        """The exact bytes of a webhook: ids and links, below 20 kB."""
        facts = self._facts(alert, camera_name, incident_state)
        data = {
            **{name: facts[name] for name in _CARRIED},
            "subject": self.text("subject.txt", facts),
            "text": self.text("text.txt", facts),
        }
        body = {"type": "alert.raised", "timestamp": facts["matched_at"], "data": data}
        return msgspec.json.encode(body)

    def text(self, face: str, facts: dict[str, Any]) -> str:
        """One face of the message, e.g. `subject.txt`."""
        return self._templates.get_template(f"{TEMPLATE}/{face}.j2").render(facts).strip()

    def _facts(self, alert: AlertRaised, camera_name: str, incident_state: str) -> dict[str, Any]:
        fields = msgspec.structs.asdict(alert)
        incident = f"{self._base_url}/api/v1/incidents/{alert.incident}"
        return {
            **fields,
            "rule": alert.cause.rule,
            "rule_version": alert.cause.rule_version,
            "matched_at": rfc3339(alert.matched_at),
            "camera_name": camera_name,
            "incident_state": incident_state,
            "link": f"{self._base_url}/#incident={alert.incident}",
            "links": {"incident": incident, "snapshot": f"{incident}/snapshot"},
        }


_CARRIED = (
    "alert", "incident", "incident_state", "camera", "camera_name", "site", "severity", "title",
    "summary", "rule", "rule_version", "label", "tracks", "zone", "line", "matched_at", "margin",
    "simulated", "links",
)  # fmt: skip
