// Requests that change something: they outlive a session that ended, and what went wrong comes back in words.
import { logInAgain } from "./session.js";

const meta = (name) => document.querySelector(`meta[name=${name}]`);
export const UNREACHABLE = "The server cannot be reached. What you typed is still here; try again.";

/** The headers of a request that changes something, with the token as it is now. */
export const tokenHeader = () => ({ "X-CSRF-Token": meta("csrf")?.content ?? "" });

/** Everything on the page that shows the token shows this one from now on. */
export function takeToken(token) {
  meta("csrf").content = token;
  for (const input of document.querySelectorAll("input[name=csrf]")) input.value = token;
}

/** The token of the session as it is now, if the same person is logged in. */
async function freshToken() {
  const signal = AbortSignal.timeout(GIVE_UP_AFTER);
  const me = await (await fetch("/api/me", { headers: { Accept: "application/json" }, signal })).json();
  if (me.login !== meta("login")?.content) return false;
  takeToken(me.csrf);
  return true;
}

/** Whether an answer says that the session ended or got another token, and that has been mended meanwhile. */
export async function mended(status, body) {
  if (status === 401) return logInAgain();
  return status === 403 && body?.code === "stale" && freshToken();
}

/** Milliseconds until a request is given up: what it sends can be sent again. */
export const GIVE_UP_AFTER = 30_000;

/**
 * Sends a request, once more if its session had ended. Never throws: without an answer the status is 0, and what went
 * wrong is in `body.error`.
 */
export async function send(url, { method = "POST", fields } = {}) {
  for (let tries = 2; ; tries -= 1) {
    const headers = { Accept: "application/json", ...tokenHeader() };
    const body = new URLSearchParams(fields);
    body.delete("csrf");
    let answer;
    try {
      const response = await fetch(url, { method, headers, body, signal: AbortSignal.timeout(GIVE_UP_AFTER) });
      answer = { ok: response.ok, status: response.status, body: await content(response) };
      if (tries > 1 && (await mended(answer.status, answer.body))) continue;
    } catch {
      answer = { ok: false, status: 0, body: { error: UNREACHABLE } };
    }
    return answer;
  }
}

/** What the server says, also in refusing: an object with `error`, the words, and perhaps a `field` and a `code`. */
export async function content(response) {
  try {
    return Object(await response.json());
  } catch {
    return response.ok ? {} : { error: `The server answered ${response.status}. What you typed is still here; try again.` };
  }
}

/** As the server makes them: 128 random bits in hexadecimal. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
