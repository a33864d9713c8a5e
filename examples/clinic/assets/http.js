const csrf = document.querySelector("meta[name=csrf]")?.content ?? "";

/** The headers of a request that changes something. */
export const tokenHeader = { "X-CSRF-Token": csrf };

/** Whether the answer says that the session ended; if so, the page asks to log in again. */
export function sessionEnded(status) {
  if (status !== 401) return false;
  const here = encodeURIComponent(location.pathname + location.search);
  location.assign(`/login?next=${here}`);
  return true;
}

/** What went wrong, from the server's own words where it gave any. */
export async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The server answered ${response.status}.`;
  }
}
