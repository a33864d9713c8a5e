// Times as they are where they are read.

export function localTimes(place) {
  for (const time of place.querySelectorAll("time")) {
    const local = new Date(time.dateTime);
    time.textContent = local.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}
