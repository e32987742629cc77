// Times in words: Slack timestamps, days, ages and the `<!date^…>` formats.

import { el } from "./dom.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayLong = new Intl.DateTimeFormat(undefined, { weekday: "long", month: "long", day: "numeric" });
const dayPlain = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "long", day: "numeric" });
const dayShort = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const dayFull = new Intl.DateTimeFormat(undefined, { weekday: "long", year: "numeric", month: "long", day: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** A Slack timestamp ("1700000000.000100") as a Date. */
export function moment(ts) {
  return new Date(Number(ts) * 1000);
}

/** Hours and minutes of a Slack timestamp, in a time element whose title is the whole date. */
export function timeOf(ts, className = "time") {
  const at = moment(ts);
  if (Number.isNaN(at.getTime())) return el("span", { class: className });
  return el("time", { class: className, datetime: at.toISOString(), title: full.format(at), text: clock.format(at) });
}

/** "Today", "Yesterday" or the day's name. */
export function dayName(at) {
  const days = Math.round((startOfDay(new Date()) - startOfDay(at)) / 86400000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return dayLong.format(at);
}

/** A key that is equal for times of one day. */
export function dayKey(at) {
  return `${at.getFullYear()}-${at.getMonth()}-${at.getDate()}`;
}

function startOfDay(at) {
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}

/** How long ago (or ahead) a time is, in words. */
export function ago(at) {
  const seconds = Math.round((Date.now() - at.getTime()) / 1000);
  const size = Math.abs(seconds);
  if (size < 10) return "just now";
  const [count, unit] = size < 60 ? [size, "second"] : size < 3600 ? [Math.round(size / 60), "minute"]
    : size < 86400 ? [Math.round(size / 3600), "hour"] : [Math.round(size / 86400), "day"];
  const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
  return seconds < 0 ? `in ${words}` : `${words} ago`;
}

const iso = (at) => `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;
const pretty = (format) => (at) => (["Today", "Yesterday"].includes(dayName(at)) ? dayName(at).toLowerCase() : format.format(at));
// Tokens of Slack's date formatting: docs.slack.dev/messaging/formatting-message-text, read 2026-11.
const TOKENS = {
  date_num: iso,
  date: (at) => dayPlain.format(at),
  date_short: (at) => dayShort.format(at),
  date_long: (at) => dayFull.format(at),
  date_pretty: pretty(dayPlain),
  date_short_pretty: pretty(dayShort),
  date_long_pretty: pretty(dayFull),
  time: (at) => clock.format(at),
  time_secs: (at) => clockSeconds.format(at),
  ago,
};

/** Render `<!date^seconds^format|fallback>`; an unreadable time or token shows the fallback. */
export function formattedDate(seconds, format, fallback) {
  const at = new Date(Number(seconds) * 1000);
  if (!/^-?\d{1,12}$/.test(String(seconds)) || Number.isNaN(at.getTime())) return el("span", { text: fallback || "" });
  let known = true;
  const text = String(format || "{date_short_pretty} {time}").replace(/\{(\w+)\}/g, (whole, token) => {
    if (!Object.hasOwn(TOKENS, token)) known = false;
    return known ? TOKENS[token](at) : whole;
  });
  return el("time", { class: "date", datetime: at.toISOString(), title: full.format(at), text: known ? text : fallback || text });
}
