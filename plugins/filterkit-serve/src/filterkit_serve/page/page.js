// Asks /v1/filters what is served and /v1/score for a verdict. Texts from outside only ever become text nodes.
"use strict";

const find = (id) => document.getElementById(id);
const form = find("ask"), button = find("judge"), token = find("token"), verdict = find("verdict");
let filters = [];

async function ask(path, options = {}) {
  const headers = { "content-type": "application/json" };
  if (token.value) headers.authorization = "Bearer " + encodable(token.value.trim());
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, referrerPolicy: "no-referrer" });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    find("token-field").hidden = false;
    token.focus();
    throw new Error(token.value ? "This is not the server's token." : "This server asks for its token.");
  }
  if (!answer.ok) {
    const wait = answer.headers.get("retry-after");
    const said = body.error ? body.error.message : "the server answered " + answer.status;
    throw new Error(sentence(said) + (wait ? " Try again in " + wait + " s." : ""));
  }
  return body;
}

// A header takes no other characters; what was pasted is then no token.
const encodable = (text) => (/^[\x21-\x7e]+$/.test(text) ? text : "-");
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");

async function loadFilters() {
  filters = (await ask("v1/filters")).filters;
  const select = find("filter");
  const chosen = select.value;
  select.replaceChildren(...filters.map((one) => {
    const name = one.filter + "@" + one.version;
    return element("option", one.filter + " " + one.version, { value: name });
  }));
  if (chosen) select.value = chosen;
  find("filter-field").hidden = filters.length < 2;
}

async function judge() {
  say("Judging …", "");
  button.disabled = true;
  try {
    if (!filters.length) await loadFilters();
    const article = { id: "page", title: find("title").value, content: find("content").value };
    const body = JSON.stringify({ articles: [article], filter: find("filter").value });
    const answer = await ask("v1/score", { method: "POST", body });
    const filter = await described(answer);
    show(answer, filter, article.title);
  } catch (error) {
    verdict.hidden = true;
    say("", error.message);
  } finally {
    button.disabled = false;
  }
}

// What answers now may be another student than the one that was there when the page was opened.
async function described(answer) {
  const same = (one) => one.filter === answer.filter && one.version === answer.version;
  if (!filters.some((one) => same(one) && one.student_hash === answer.student_hash)) await loadFilters();
  return filters.find(same) || { scale: { min: 0, max: 10 }, dimensions: [], tiers: [] };
}

function show(answer, filter, title) {
  const judged = answer.verdicts[0];
  find("of").textContent = title;
  find("facts").replaceChildren(...facts(judged, filter));
  const table = find("scores");
  table.hidden = !Object.keys(judged.scores).length;
  table.querySelector(".low").textContent = filter.scale.min;
  table.querySelector(".high").textContent = filter.scale.max;
  const rows = filter.dimensions.filter((d) => d.name in judged.scores).map((d) => row(d, judged, filter.scale));
  table.tBodies[0].replaceChildren(...rows);
  find("whose").textContent = "Judged by " + answer.filter + " " + answer.version + ", student " + answer.student_hash;
  verdict.hidden = false;
  say(table.hidden ? "There are no scores." : "Judged. Overall " + shown(judged.overall) + ".", "");
  find("verdict-head").focus();
}

function facts(judged, filter) {
  const found = [];
  const fact = (name, ...content) => {
    const value = element("dd");
    value.append(...content);
    found.push(element("dt", name), value);
    return value;
  };
  if (judged.error) fact("Not scored", judged.error);
  if (judged.blocked) fact("Held back", "by the prefilter; the student did not read it");
  if (judged.overall !== null) {
    const around = judged.overall_interval;
    const text = around ? " between " + shown(around[0]) + " and " + shown(around[1]) : "";
    fact("Overall", shown(judged.overall), element("small", text)).className = "big";
    found[found.length - 1].id = "overall";
  }
  if (judged.tier !== null) {
    const sure = { true: " (all of the interval lies in it)", false: " (but not all of the interval lies in it)" };
    fact("Tier", element("b", judged.tier), sure[judged.sure] || "").id = "tier";
  }
  if (filter.tiers.length || judged.blocked) {
    fact("Passes", element("span", judged.passed ? "yes" : "no", judged.passed ? { className: "yes" } : {}));
  }
  if (judged.reasons.length) fact("Reasons", judged.reasons.join(", ")).id = "reasons";
  return found;
}

function row(dimension, judged, scale) {
  const score = judged.scores[dimension.name], around = (judged.intervals || {})[dimension.name];
  const head = element("th", dimension.name, { scope: "row" });
  const what = dimension.role === "flag" ? "flag" : "weight " + dimension.weight;
  head.append(element("small", [what, dimension.description].filter(Boolean).join("; "), { dir: "auto" }));
  const number = element("td", shown(score), { className: "number" });
  const range = element("td", around ? shown(around[0]) + " – " + shown(around[1]) : "unknown", { className: "number" });
  const picture = element("td", "", { className: "picture" });
  picture.append(drawn(score, around, scale));
  const line = element("tr");
  line.append(head, number, range, picture);
  return line;
}

// The numbers beside it say the same, so a screen reader leaves it out.
function drawn(score, around, scale) {
  const at = (value) => (100 * (value - scale.min)) / (scale.max - scale.min);
  const svg = svgElement("svg", { viewBox: "-2 0 104 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(svgElement("rect", { class: "track", x: 0, y: 8, width: 100, height: 4 }));
  if (around) {
    const [low, high] = around.map(at);
    svg.append(svgElement("rect", { class: "band", x: low, y: 5, width: Math.max(high - low, 0.5), height: 10 }));
  }
  svg.append(svgElement("rect", { class: "point", x: at(score) - 0.9, y: 2, width: 1.8, height: 16 }));
  return svg;
}

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function element(name, text = "", properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  if (text) made.append(text);
  return made;
}

const shown = (value) => (value === null ? "none" : value.toFixed(2));

function say(status, wrong) {
  find("status").textContent = status;
  find("wrong").textContent = wrong;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!button.disabled) judge();
});
find("content").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
loadFilters().catch((error) => say("", error.message));
