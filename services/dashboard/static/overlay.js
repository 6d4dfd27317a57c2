// Draws one camera: the picture, zones and lines, boxes and trails, each at the frame it belongs to.

const TRAIL_SECONDS = 4;
const WAIT_MS = 450; // how long a picture waits for its tracks before it is shown without them
const COLOURS = ["#7fd1ff", "#ffb74a", "#8be28b", "#ff8fb1", "#c9a6ff", "#ffe66e", "#6ee6d8", "#ff9d6e"];

export const colourOf = (track) => {
  let sum = 0;
  for (const letter of track) sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return COLOURS[sum % COLOURS.length];
};

export class Overlay {
  constructor(canvas, show) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.show = show; // which layers are switched on
    this.zones = [];
    this.lines = [];
    this.trails = new Map();
    this.tracks = null;
    this.waiting = null;
    this.image = null;
  }

  picture(header, image) {
    if (this.waiting) this.paint(this.waiting);
    this.waiting = { header, image };
    if (this.tracks && this.tracks.epoch === header.epoch && this.tracks.seq >= header.seq) {
      this.paint(this.waiting);
    } else {
      const mine = this.waiting;
      setTimeout(() => this.waiting === mine && this.paint(mine), WAIT_MS);
    }
  }

  seen(message) {
    this.tracks = message;
    for (const track of message.tracks) {
      const trail = this.trails.get(track.track) ?? [];
      const [left, top, width, height] = track.box;
      if (!track.held) trail.push([message.captured_at, (left + width / 2) / message.width, (top + height) / message.height]);
      this.trails.set(track.track, trail);
    }
    const oldest = message.captured_at - TRAIL_SECONDS * 1e6;
    for (const [name, trail] of this.trails) {
      while (trail.length && trail[0][0] < oldest) trail.shift();
      if (!trail.length) this.trails.delete(name);
    }
    const due = this.waiting && this.waiting.header.epoch === message.epoch && this.waiting.header.seq <= message.seq;
    if (due) this.paint(this.waiting);
    else if (!this.waiting && this.image) this.draw();
  }

  paint({ header, image }) {
    this.waiting = null;
    this.image?.close?.();
    this.image = image;
    if (this.canvas.width !== header.width || this.canvas.height !== header.height) {
      this.canvas.width = header.width;
      this.canvas.height = header.height;
      this.canvas.style.aspectRatio = `${header.width} / ${header.height}`;
    }
    this.draw();
  }

  draw() {
    const { context, canvas } = this;
    context.drawImage(this.image, 0, 0, canvas.width, canvas.height);
    if (this.show.places()) this.drawPlaces();
    if (this.show.trails()) this.drawTrails();
    if (this.show.boxes() && this.tracks) this.drawBoxes();
    canvas.dataset.boxes = this.tracks ? String(this.tracks.tracks.length) : "0";
    canvas.dataset.frames = String(Number(canvas.dataset.frames ?? 0) + 1);
  }

  drawPlaces() {
    const { context, canvas } = this;
    context.lineWidth = Math.max(1.5, canvas.width / 480);
    context.font = `${Math.max(11, canvas.width / 55)}px system-ui`;
    for (const zone of this.zones) {
      context.beginPath();
      zone.points.forEach(([x, y], n) => context[n ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height));
      context.closePath();
      context.fillStyle = "#6eb6ff1c";
      context.strokeStyle = "#6eb6ffb0";
      context.fill();
      context.stroke();
      context.fillStyle = "#bfe0ff";
      context.fillText(zone.name, zone.points[0][0] * canvas.width + 5, zone.points[0][1] * canvas.height + 16);
    }
    context.strokeStyle = "#ffb74ad0";
    for (const line of this.lines) {
      context.beginPath();
      context.moveTo(line.a[0] * canvas.width, line.a[1] * canvas.height);
      context.lineTo(line.b[0] * canvas.width, line.b[1] * canvas.height);
      context.stroke();
      context.fillStyle = "#ffd79a";
      context.fillText(line.name, line.a[0] * canvas.width + 5, line.a[1] * canvas.height - 6);
    }
  }

  drawTrails() {
    const { context, canvas } = this;
    context.lineWidth = Math.max(1.5, canvas.width / 420);
    for (const [name, trail] of this.trails) {
      context.strokeStyle = colourOf(name);
      context.globalAlpha = 0.75;
      context.beginPath();
      trail.forEach(([, x, y], n) => context[n ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height));
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  drawBoxes() {
    const { context, canvas, tracks } = this;
    const size = Math.max(11, canvas.width / 55);
    context.lineWidth = Math.max(1.5, canvas.width / 320);
    context.font = `600 ${size}px system-ui`;
    for (const track of tracks.tracks) {
      const scale = canvas.width / tracks.width;
      const [left, top, width, height] = track.box.map((side) => side * scale);
      context.strokeStyle = context.fillStyle = colourOf(track.track);
      context.setLineDash(track.held ? [6, 5] : []);
      context.strokeRect(left, top, width, height);
      context.setLineDash([]);
      const words = `${track.label} ${track.track.split("-").slice(-1)} · ${Math.round(track.score * 100)} %`;
      const wide = context.measureText(words).width + 8;
      context.globalAlpha = 0.82;
      context.fillRect(left, Math.max(0, top - size - 6), wide, size + 6);
      context.globalAlpha = 1;
      context.fillStyle = "#0d1116";
      context.fillText(words, left + 4, Math.max(size, top - 5));
    }
  }
}
