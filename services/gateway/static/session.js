// Keeps a page's session alive, and ends it: include it in every page behind the sign-in.
(() => {
  const EVERY_MS = 4 * 60 * 1000;
  let renewed = Date.now();

  function csrf() {
    const found = document.cookie.split("; ").find((part) => part.startsWith("vantage_csrf="));
    return found ? found.slice("vantage_csrf=".length) : "";
  }

  async function renew() {
    const answer = await fetch("/api/v1/sessions/refresh", { method: "POST", headers: { "X-CSRF-Token": csrf() } });
    if (answer.ok) {
      renewed = Date.now();
    } else if (answer.status === 401 || answer.status === 403) {
      location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    }
  }

  async function signOut() {
    await fetch("/api/v1/sessions/current", { method: "DELETE", headers: { "X-CSRF-Token": csrf() } });
    location.assign("/login");
  }

  const tick = () => {
    if (Date.now() - renewed >= EVERY_MS) renew().catch(() => {});
  };
  setInterval(tick, 20000);
  document.addEventListener("visibilitychange", tick);
  window.vantage = Object.assign(window.vantage || {}, { csrf, renew, signOut });
})();
