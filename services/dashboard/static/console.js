// The console: one WebSocket brings pictures, tracks, alerts and states; history and acts go over the API.

import { Alerts } from "./alerts.js";
import { Overlay } from "./overlay.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const show = { boxes: () => $("boxes").checked, trails: () => $("trails").checked, places: () => $("places").checked };
const tiles = new Map();
const timeline = new Timeline($("timeline"));
const alerts = new Alerts({ list: $("alerts"), quiet: $("quiet"), count: $("count"), dialog: $("viewer"), timeline, nameOf, alarm });

function nameOf(camera) {
  return tiles.get(camera)?.name ?? camera;
}

function alarm(camera) {
  const tile = tiles.get(camera);
  if (!tile) return;
  tile.root.classList.add("alarm");
  clearTimeout(tile.calm);
  tile.calm = setTimeout(() => tile.root.classList.remove("alarm"), 8000);
}

function cameras(list) {
  const wall = $("wall");
  const known = new Set(list.map((camera) => camera.camera));
  for (const [camera, tile] of tiles) {
    if (!known.has(camera)) {
      tile.root.remove();
      tiles.delete(camera);
    }
  }
  for (const camera of list) {
    const tile = tiles.get(camera.camera) ?? newTile(camera.camera, wall);
    tile.name = camera.name;
    tile.root.querySelector(".name").textContent = camera.name;
    tile.overlay.zones = camera.zones;
    tile.overlay.lines = camera.lines;
    if (!camera.enabled) tile.root.querySelector(".note").textContent = "switched off";
  }
  $("empty").hidden = list.length > 0;
  timeline.cameras(list);
}

function newTile(camera, wall) {
  const root = $("tile").content.firstElementChild.cloneNode(true);
  root.dataset.camera = camera;
  wall.append(root);
  const tile = { root, name: camera, frames: [], overlay: new Overlay(root.querySelector("canvas"), show) };
  tiles.set(camera, tile);
  return tile;
}

function status(message) {
  const tile = tiles.get(message.camera);
  if (!tile) return;
  tile.root.querySelector(".dot").dataset.state = message.state;
  tile.root.querySelector(".dot").title = message.state;
  const quiet = message.state === "online";
  tile.root.querySelector(".note").textContent = quiet ? "" : `${message.state.replace("_", " ")}${message.reason ? `: ${message.reason}` : ""}`;
  tile.state = message;
}

async function picture(buffer) {
  const view = new DataView(buffer);
  const length = view.getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const tile = tiles.get(header.camera);
  if (!tile) return;
  const image = await createImageBitmap(new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }));
  tile.overlay.picture(header, image);
  const now = performance.now();
  tile.frames.push(now);
  while (tile.frames.length && tile.frames[0] < now - 3000) tile.frames.shift();
  const dropped = tile.state?.dropped ? ` · ${tile.state.dropped} dropped` : "";
  tile.root.querySelector(".facts").textContent = `${header.width}×${header.height} · ${(tile.frames.length / 3).toFixed(1)} fps${dropped}`;
}

const hear = {
  hello: (message) => {
    cameras(message.cameras);
    message.status.forEach(status);
  },
  cameras: (message) => cameras(message.cameras),
  status,
  tracks: (message) => {
    const tile = tiles.get(message.camera);
    if (tile) tile.root.querySelector(".badge").hidden = !message.simulated;
    tile?.overlay.seen(message);
    timeline.seen(message);
  },
  alert: (message) => alerts.add(message, true),
  moved: (message) => alerts.moved(message),
  delivery: (message) => alerts.delivery(message),
};

function link(state) {
  $("link").dataset.state = state;
  $("link").textContent = state === "live" ? "live" : state === "away" ? "reconnecting" : "connecting";
}

let wait = 500;
function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    wait = 500;
    link("live");
    alerts.load().catch(() => {});
  };
  socket.onmessage = ({ data }) => {
    if (typeof data !== "string") return void picture(data).catch(() => {});
    const message = JSON.parse(data);
    hear[message.type]?.(message);
  };
  socket.onclose = () => {
    link("away");
    setTimeout(connect, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 15000);
    window.vantage?.renew?.().catch(() => {});
  };
}

$("signout").addEventListener("click", () => window.vantage.signOut());
for (const layer of ["boxes", "trails", "places"]) {
  $(layer).addEventListener("change", () => tiles.forEach((tile) => tile.overlay.image && tile.overlay.draw()));
}
connect();
