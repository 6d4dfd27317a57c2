// Signs in: by the secret in the fragment, by the session that is still alive, or by name and password.
const message = document.getElementById("message");
const signIn = document.getElementById("sign-in");
const newPassword = document.getElementById("new-password");

function csrf() {
  const found = document.cookie.split("; ").find((part) => part.startsWith("vantage_csrf="));
  return found ? found.slice("vantage_csrf=".length) : "";
}

function call(method, path, body) {
  const headers = { "X-CSRF-Token": csrf() };
  if (body) headers["Content-Type"] = "application/json";
  return fetch(path, { method, headers, body: body && JSON.stringify(body) });
}

function leave() {
  const next = new URLSearchParams(location.search).get("next") || "/";
  // Only a path of this site: anything else could lead the signed-in user elsewhere.
  const here = /^\/(?![\/\\])/.test(next) && !next.startsWith("/login");
  location.replace(here ? next : "/");
}

async function enter(body) {
  let answer;
  try {
    answer = await call("POST", "/api/v1/sessions", body);
  } catch {
    message.textContent = "The server does not answer.";
    return;
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    message.textContent = said.detail || "That did not work.";
    show();
  } else if (said.has_password) {
    leave();
  } else {
    message.textContent = "";
    signIn.hidden = true;
    newPassword.elements.name.value = said.name;
    newPassword.hidden = false;
    newPassword.elements.chosen.focus();
  }
}

function show() {
  signIn.hidden = false;
  signIn.elements.name.focus();
}

signIn.addEventListener("submit", (event) => {
  event.preventDefault();
  message.textContent = "";
  enter({ name: signIn.elements.name.value, password: signIn.elements.password.value });
});

newPassword.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await call("PUT", "/api/v1/me/password", { new: newPassword.elements.chosen.value });
  if (answer.ok) {
    leave();
  } else {
    const said = await answer.json().catch(() => ({}));
    message.textContent = said.detail || "That did not work.";
  }
});

document.getElementById("later").addEventListener("click", leave);

async function begin() {
  const secret = location.hash.slice(1);
  if (secret) {
    history.replaceState(null, "", location.pathname + location.search);
    await enter({ secret });
  } else if (csrf() && (await call("POST", "/api/v1/sessions/refresh")).ok) {
    leave();
  } else {
    show();
  }
}

begin();
