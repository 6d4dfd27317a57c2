// The last ten minutes at a glance: a lane per camera, its activity as a band, its alerts as marks.

const SPAN = 600e6; // microseconds
const BINS = 200;
const LEVELS = { critical: "#ff4d5e", high: "#ff8a3d", medium: "#ffc93d", low: "#6ecb8b", info: "#7f93a8" };

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.activity = new Map(); // camera -> Map(bin -> most tracks at once)
    this.alerts = [];
    this.names = new Map();
    this.offset = new Map(); // camera -> host time minus event time: files and replays have a past of their own
    setInterval(() => this.draw(), 1000);
  }

  cameras(list) {
    this.names = new Map(list.map((camera) => [camera.camera, camera.name]));
    this.draw();
  }

  seen(message) {
    const now = Date.now() * 1000;
    this.offset.set(message.camera, now - message.captured_at);
    const bins = this.activity.get(message.camera) ?? new Map();
    const bin = Math.floor(now / (SPAN / BINS));
    bins.set(bin, Math.max(bins.get(bin) ?? 0, message.tracks.length));
    for (const old of bins.keys()) if (old < bin - BINS) bins.delete(old);
    this.activity.set(message.camera, bins);
  }

  alert(camera, matchedAt, level) {
    this.alerts.push({ camera, matchedAt, level });
    if (this.alerts.length > 2000) this.alerts.shift();
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const lanes = Math.max(1, this.names.size);
    const height = 18 + lanes * 22;
    canvas.style.height = `${height}px`;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const width = canvas.clientWidth;
    const left = Math.min(110, width / 4);
    const now = Date.now() * 1000;
    const x = (at) => left + (1 - (now - at) / SPAN) * (width - left - 8);
    context.font = "11px system-ui";
    context.fillStyle = "#98a4b0";
    for (let minute = 0; minute <= 10; minute += 2) {
      context.fillText(minute ? `−${minute} min` : "now", Math.max(left, x(now - minute * 60e6) - (minute ? 14 : 22)), height - 4);
    }
    [...this.names].forEach(([camera, name], lane) => {
      const top = 4 + lane * 22;
      context.fillStyle = "#98a4b0";
      context.fillText(name.slice(0, 16), 8, top + 13);
      context.fillStyle = "#1d2630";
      context.fillRect(left, top, width - left - 8, 18);
      for (const [bin, tracks] of this.activity.get(camera) ?? []) {
        const at = bin * (SPAN / BINS);
        if (at < now - SPAN) continue;
        context.fillStyle = `rgb(110 182 255 / ${Math.min(0.15 + tracks * 0.14, 0.9)})`;
        context.fillRect(x(at), top, (width - left - 8) / BINS + 0.6, 18);
      }
      for (const alert of this.alerts) {
        const at = alert.matchedAt + (this.offset.get(camera) ?? 0);
        if (alert.camera !== camera || at < now - SPAN) continue;
        context.fillStyle = LEVELS[alert.level] ?? LEVELS.info;
        context.fillRect(x(at) - 1.5, top - 2, 3, 22);
      }
    });
  }
}
