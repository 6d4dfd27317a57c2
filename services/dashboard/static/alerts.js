// The alert list: history once, then what comes; snapshots as they arrive, acts on the incident.

const KEEP = 200;
const RETRY_MS = [400, 800, 1500, 3000, 5000, 10000, 10000]; // as long as the server may say "coming"

const microsOf = (value) => (typeof value === "number" ? value : Date.parse(value) * 1000);

export class Alerts {
  constructor({ list, quiet, count, dialog, timeline, nameOf, alarm }) {
    Object.assign(this, { list, quiet, count, dialog, timeline, nameOf, alarm });
    this.cards = new Map(); // incident -> card
  }

  async load() {
    const answer = await fetch("/api/v1/alerts?limit=50");
    if (!answer.ok) return;
    const { items } = await answer.json();
    for (const item of [...items].reverse()) this.add(item, false);
  }

  add(alert, fresh) {
    const known = this.cards.get(alert.incident);
    if (known) return void (alert.state && this.moved({ incident: alert.incident, target: alert.state }));
    const root = document.getElementById("card").content.firstElementChild.cloneNode(true);
    const at = microsOf(alert.matched_at);
    const put = (selector, text) => (root.querySelector(selector).textContent = text);
    root.dataset.level = alert.severity;
    root.dataset.incident = alert.incident;
    root.classList.toggle("fresh", fresh);
    put(".level", alert.severity);
    put(".title", alert.title);
    put(".summary", alert.summary + (alert.simulated ? " (simulated)" : ""));
    put(".camera", alert.camera_name || this.nameOf(alert.camera));
    put(".rule", alert.cause?.rule ?? alert.rule ?? "");
    const time = root.querySelector("time");
    time.dateTime = new Date(at / 1000).toISOString();
    time.textContent = new Date(at / 1000).toLocaleString();
    const card = { root, alert, at, state: "", sent: new Map() };
    this.cards.set(alert.incident, card);
    this.place(card);
    root.querySelector(".shot").addEventListener("click", () => this.open(card));
    for (const button of root.querySelectorAll("[data-act]")) {
      button.addEventListener("click", () => this.act(card, button.dataset.act));
    }
    this.moved({ incident: alert.incident, target: alert.state ?? "OPEN" });
    this.snapshot(card, 0);
    this.timeline.alert(alert.camera, at, alert.severity);
    if (fresh) this.alarm(alert.camera);
    this.trim();
  }

  place(card) {
    const after = [...this.list.children].find((one) => this.cards.get(one.dataset.incident).at <= card.at);
    this.list.insertBefore(card.root, after ?? null);
  }

  trim() {
    while (this.list.children.length > KEEP) {
      this.cards.delete(this.list.lastElementChild.dataset.incident);
      this.list.lastElementChild.remove();
    }
    this.quiet.hidden = this.cards.size > 0;
    this.count.textContent = this.cards.size;
    this.count.hidden = !this.cards.size;
  }

  async snapshot(card, attempt) {
    const words = card.root.querySelector(".shot span");
    const answer = await fetch(this.snapshotOf(card)).catch(() => null);
    if (answer?.ok) {
      const image = card.root.querySelector(".shot img");
      image.src = URL.createObjectURL(await answer.blob());
      image.alt = card.alert.title;
      image.hidden = false;
      words.hidden = true;
      return;
    }
    const problem = (await answer?.json().catch(() => null)) ?? {};
    if (problem.snapshot !== "missing" && attempt < RETRY_MS.length) {
      setTimeout(() => this.snapshot(card, attempt + 1), RETRY_MS[attempt]);
    } else {
      words.textContent = "snapshot missing";
    }
  }

  snapshotOf(card) {
    return `/api/v1/incidents/${encodeURIComponent(card.alert.incident)}/snapshot`;
  }

  moved({ incident, target, outcome }) {
    const card = this.cards.get(incident);
    if (!card) return;
    card.state = target;
    const done = ["RESOLVED", "CLOSED", "EXPIRED"].includes(target);
    card.root.querySelector(".incident").textContent = target.toLowerCase() + (outcome ? ` (${{ tp: "real", fp: "false alarm", unsure: "unsure" }[outcome]})` : "");
    card.root.classList.toggle("done", done);
    card.root.querySelector("[data-act=ack]").disabled = done || target === "ACKED";
    for (const act of ["tp", "fp"]) card.root.querySelector(`[data-act=${act}]`).disabled = done;
  }

  delivery(message) {
    const card = this.cards.get(message.incident);
    if (!card) return;
    card.sent.set(message.subscription, message.channel === "console" ? "on the console" : `${message.channel} ${message.state}`);
    card.root.querySelector(".sent").textContent = [...card.sent.values()].join(", ");
  }

  async act(card, act) {
    const body = act === "ack" ? { target: "ACKED" } : { target: "RESOLVED", outcome: act };
    const answer = await fetch(`/api/v1/incidents/${encodeURIComponent(card.alert.incident)}/transitions`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": window.vantage.csrf(), "Idempotency-Key": crypto.randomUUID() },
      body: JSON.stringify(body),
    });
    if (answer.ok) return void this.moved({ incident: card.alert.incident, target: body.target, outcome: body.outcome });
    const problem = await answer.json().catch(() => ({}));
    card.root.querySelector(".sent").textContent = problem.detail ?? `not done (${answer.status})`;
  }

  open(card) {
    const image = card.root.querySelector(".shot img");
    if (image.hidden) return;
    this.dialog.querySelector("img").src = image.src;
    this.dialog.querySelector("p").textContent = `${card.alert.title}: ${card.alert.summary}`;
    this.dialog.showModal();
  }
}
