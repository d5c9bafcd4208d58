// The page's behaviour. Every text of a target, a file or a user becomes a text node: never markup.
"use strict";

const LAST = 50; // calls in the strip of latencies
const TIMES = 100;
const BINS = 48;
const QUANTILES = [["median", 0.5], ["p95", 0.95], ["p99", 0.99]];
const find = (id) => document.getElementById(id);

const page = { targets: [], question: null, times: [], distribution: false, history: [], running: null, finished: 0 };

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const button = (ariaLabel, onclick, ...children) =>
  element("button", { type: "button", ariaLabel, onclick }, ...children);

// Asking

async function* jsonLines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

// Resolves to the replies of both targets and their comparison; calls `onReply` as each arrives.
async function ask(question, signal, onReply) {
  const response = await fetch(`/ask?name=${encodeURIComponent(question.name)}`, {
    method: "POST", body: question.body, headers: { "Content-Type": question.type }, signal,
  });
  if (response.status === 413) throw new Error("The file is larger than 64 MB: no target takes that.");
  if (response.status === 403) throw new Error("Was the playground started again? Open the address that it printed.");
  if (!response.ok) throw new Error(`The playground answered ${response.status}.`);
  const round = { replies: [], comparison: null };
  for await (const told of jsonLines(response)) {
    if (told.comparison) round.comparison = told.comparison;
    else round.replies[told.side] = told;
    onReply(round);
  }
  return round;
}

async function run(question, times) {
  page.running?.abort();
  const controller = (page.running = new AbortController());
  page.question = question;
  showQuestion(question);
  if (times > 1 || page.distribution) page.times = page.targets.map(() => []);
  page.distribution = times > 1;
  const tally = { asked: 0, same: 0, exact: 0 };
  const started = performance.now();
  const clock = setInterval(() => showWaiting(started), 500);
  setRunning(true, times);
  if (matchMedia("(max-width: 900px)").matches) find("verdict").scrollIntoView(); // it is below the request
  let shown = null;
  try {
    while (tally.asked < times) {
      if (times === 1) showRound({ replies: [], comparison: null });
      const round = await ask(question, controller.signal, times === 1 ? showRound : () => {});
      keepTimes(round);
      tally.asked += 1;
      tally.exact += Number(Boolean(round.comparison?.exact));
      tally.same += Number(Boolean(round.comparison?.same));
      if (!shown || shown.comparison?.exact) shown = round; // the first that differs stays
      find("progress").value = tally.asked;
      drawTimes();
      if (round.replies.some((reply) => reply.problem)) break;
    }
  } catch (error) {
    if (page.running === controller) say(error.name === "AbortError" ? "Cancelled." : problemOf(error));
  }
  clearInterval(clock);
  if (page.running !== controller) return; // another request took its place
  page.running = null;
  setRunning(false, times);
  for (const node of document.querySelectorAll(".waiting")) node.textContent = "No answer was received.";
  page.finished += 1;
  if (!shown) return showVerdict("quiet", "No answer", find("note").textContent);
  showRound(shown);
  if (times > 1) showTally(tally);
  remember(question, shown);
}

const problemOf = (error) =>
  error instanceof TypeError ? "The playground does not answer: was it ended in its terminal?" : error.message;

function keepTimes(round) {
  for (const reply of round.replies) {
    if (reply?.status !== 200) continue;
    const times = page.times[reply.side];
    times.push(reply.milliseconds);
    if (!page.distribution && times.length > LAST) times.shift();
  }
}

// Requests

function askPicture(blob, name) {
  const type = blob.type.startsWith("image/") ? blob.type : "application/x-image";
  const body = new Blob([blob], { type });
  return run({ name, type, body, picture: URL.createObjectURL(body) }, 1);
}

async function askFile(file) {
  if (!/\.json$/i.test(file.name)) return askPicture(file, file.name);
  chooseKind("json");
  find("editor").value = await file.text();
  return askJson(file.name);
}

const askJson = (name, body = find("editor").value) => run({ name, type: "application/json", body }, 1);

const askUri = (uri) => askJson(uri.split("?")[0].slice(0, 60), JSON.stringify({ uri }));

async function openCamera() {
  try {
    find("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    find("camera").showModal();
  } catch (error) {
    say(`No camera: ${error.message}`);
  }
}

function closeCamera() {
  find("video").srcObject?.getTracks().forEach((track) => track.stop());
  find("video").srcObject = null;
  find("camera").close();
}

function takePhoto() {
  const video = find("video");
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    closeCamera();
    askPicture(blob, "photo.jpg");
  }, "image/jpeg", 0.92);
}

// What is shown

const say = (text) => (find("note").textContent = text);

function chooseKind(kind) {
  document.querySelector(`input[value=${kind}]`).checked = true;
  find("picture-panel").hidden = kind !== "picture";
  find("json-panel").hidden = kind !== "json";
}

function showQuestion(question) {
  say("");
  const { picture, name } = question;
  Object.assign(find("preview"), picture ? { hidden: false, src: picture, alt: name } : { hidden: true });
}

function setRunning(running, times) {
  find("running").hidden = !running;
  find("progress").max = times;
  if (running && times > 1) find("progress").value = 0;
  else find("progress").removeAttribute("value");
  for (const id of ["again", "many"]) find(id).disabled = running;
  find("answers").ariaBusy = running;
}

function showWaiting(started) {
  const seconds = Math.round((performance.now() - started) / 1000);
  for (const node of document.querySelectorAll(".waiting")) node.textContent = `Waiting, ${seconds} s …`;
}

function showVerdict(state, text, detail) {
  find("verdict").className = `card ${state}`;
  find("verdict-text").textContent = text;
  find("verdict-detail").textContent = detail;
}

function showRound(round) {
  find("answers").replaceChildren(...page.targets.map((target, side) => card(round, target, side)));
  const { comparison } = round;
  find("places").replaceChildren(...(comparison?.places ?? []).map((place) => element("li", {}, place)));
  find("checks").hidden = !comparison?.checks;
  find("checks").querySelector("ul").replaceChildren(...(comparison?.checks ?? []).map(check));
  if (!comparison) {
    const done = round.replies.length === page.targets.length;
    showVerdict("quiet", done ? "Answered" : "Asking …", page.question.name);
  } else if (comparison.missing) showVerdict("fails", "Nothing to compare", comparison.missing);
  else if (comparison.exact) showVerdict("ok", "Identical", "The answers are the same to the byte.");
  else if (comparison.same) showVerdict("ok", "Same, within the tolerance", sameness(comparison.largest));
  else showVerdict("fails", "Different", cause(comparison));
}

const sameness = (largest) =>
  largest ? `The largest difference is ${largest.toExponential(1)}.` : "They differ in words that are not compared.";

function cause(comparison) {
  const { says } = comparison.checks.find((one) => one.check === "answers");
  return says.slice(says.indexOf("Cause: "));
}

function showTally({ asked, same, exact }) {
  if (page.targets.length < 2) return;
  const rest = same > exact ? `, ${same - exact} within the tolerance` : "";
  find("verdict-detail").textContent = `${exact} of ${asked} pairs of answers are the same to the byte${rest}. `
    + (same < asked ? "The first pair that differs is shown." : "");
}

function check({ check: name, state, says, fix }) {
  const mark = { ok: "✓", fails: "✗", warning: "!", unknown: "?" }[state];
  const rest = element("span", { className: "quiet" }, fix ? ` ${fix}` : "");
  return element("li", { className: state }, element("b", {}, `${mark} ${name}: `), says, rest);
}

function card(round, target, side) {
  const reply = round.replies[side];
  const told = reply?.target ?? target;
  const top = element("div", { className: "top" }, element("h3", {}, told.label));
  const made = element("section", { className: `card side${side}`, ariaLabel: `Answer of ${told.label}` }, top);
  if (!reply) {
    made.append(element("p", { className: "waiting quiet" }, "Waiting …"));
  } else if (reply.problem) {
    top.append(element("span", { className: "badge fails" }, "no answer"));
    made.append(element("p", { className: "error" }, reply.problem.why));
    made.append(element("p", { className: "quiet" }, reply.problem.fix));
  } else {
    const state = reply.status === 200 ? "ok" : "fails";
    top.append(element("span", { className: `badge ${state}` }, String(reply.status)));
    const by = reply.answered_by && `, answered by ${reply.answered_by}`;
    made.append(element("p", { className: "time" }, reply.milliseconds.toFixed(1), element("small", {}, ` ms${by}`)));
    if (reply.error.code) {
      const code = element("b", {}, reply.error.code);
      made.append(element("p", { className: "error" }, code, element("br"), reply.error.message));
    }
    made.append(bars(reply, round.replies[1 - side]), facts(reply, told));
    const open = !reply.bars.length && !reply.error.code;
    made.append(element("details", { open }, element("summary", {}, "Whole answer"), pre(reply.text, "Whole answer")));
  }
  const snippets = Object.entries(reply?.snippets ?? {});
  made.append(...snippets.map(([language, lines]) => snippet(language, lines, told.label)));
  return made;
}

function bars(reply, other) {
  const others = new Map(other?.bars ?? []);
  const list = element("ul", { className: "bars" });
  for (const [label, share] of reply.bars) {
    const fill = element("i", {});
    fill.style.backgroundSize = `${Math.min(Math.max(Number(share) || 0, 0), 1) * 100}% 100%`;
    const row = element("li", {}, element("span", {}, label), element("span", { className: "number" }, share), fill);
    if (other?.bars?.length && others.get(label) !== share) {
      row.className = "changed";
      row.append(element("em", {}, `≠ ${others.get(label) ?? "no such label"}`));
    }
    list.append(row);
  }
  return list;
}

function facts(reply, told) {
  const rows = [
    ["Size", `${reply.bytes.toLocaleString("en")} bytes`], ["Model", told.model], ["Image", told.image],
    ["A million a month", reply.cost],
  ].filter(([, value]) => value);
  const pair = ([name, value]) => [element("dt", {}, name), element("dd", { title: value }, value)];
  return element("dl", {}, ...rows.flatMap(pair));
}

const pre = (text, label) => element("pre", { tabIndex: 0, role: "region", ariaLabel: label }, text);

function snippet(language, lines, label) {
  const copy = button(`Copy the ${language} lines of ${label}`, async () => {
    await navigator.clipboard.writeText(lines);
    copy.textContent = "Copied";
  }, "Copy");
  const summary = element("summary", {}, `The same with ${language}`);
  return element("details", { className: "snippet" }, summary, copy, pre(lines, `${language} lines of ${label}`));
}

// Latencies

const quantile = (sorted, share) => sorted[Math.ceil(sorted.length * share) - 1];

function drawTimes() {
  const longest = Math.max(...page.times.flat(), 1);
  find("latency").hidden = !page.times.flat().length;
  const note = page.distribution ? `of these calls, 0 to ${longest} ms` : `of the last ${LAST} calls`;
  find("latency-note").textContent = note;
  find("plots").replaceChildren(...page.times.map((times, side) => plot(times, side, longest)));
}

function plot(times, side, longest) {
  const sorted = [...times].sort((a, b) => a - b);
  const counted = `${times.length} ${times.length === 1 ? "call" : "calls"}`;
  const numbers = QUANTILES.map(([name, share]) => `${name} ${quantile(sorted, share)?.toFixed(1)} ms`);
  const text = times.length > 1 ? [counted, ...numbers].join(", ") : counted;
  const { label } = page.targets[side];
  const drawing = element("div", { role: "img", ariaLabel: `${label}: ${text}` });
  const values = page.distribution ? counts(times, longest) : times;
  const slots = page.distribution ? BINS : LAST;
  const highest = page.distribution ? Math.max(...values, 1) : longest;
  for (const value of values) {
    const bar = element("i", {});
    bar.style.width = `${100 / slots}%`;
    bar.style.height = `${value ? Math.max((value / highest) * 100, 2.5) : 0}%`;
    drawing.append(bar);
  }
  const caption = element("p", { className: "quiet number" }, text);
  return element("div", { className: `plot side${side}` }, element("h3", {}, label), caption, drawing);
}

function counts(times, longest) {
  const bins = new Array(BINS).fill(0);
  for (const time of times) bins[Math.min(BINS - 1, Math.floor((time / longest) * BINS))] += 1;
  return bins;
}

// History

function remember(question, round) {
  page.history.push(question);
  find("history").hidden = false;
  const shown = question.picture ? picture(question.picture) : "";
  const name = element("span", {}, question.name);
  const again = button(`Ask again about ${question.name}`, () => run(question, 1), shown, name);
  const timeOf = (reply) => (reply.problem ? "no answer" : `${reply.milliseconds} ms`);
  const times = round.replies.map(timeOf).join(" · ");
  const verdict = element("span", { className: find("verdict").className.replace("card", "badge") });
  verdict.textContent = find("verdict-text").textContent;
  find("asked").prepend(element("li", {}, again, element("span", { className: "quiet number" }, times), verdict));
}

// A picture that the browser cannot show is left out: the targets say what is wrong with it.
const picture = (source) => element("img", { src: source, alt: "", onerror: (event) => event.target.remove() });

function dataUri(blob) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.readAsDataURL(blob);
  });
}

function isJson(text) {
  try {
    return JSON.parse(text) !== undefined;
  } catch {
    return false;
  }
}

// A line of `ops parity --inputs` for each question: the request, or its picture as a data: URI.
async function exportHistory() {
  const lines = new Set();
  let skipped = 0;
  for (const { picture, body } of page.history) {
    if (picture) lines.add(JSON.stringify({ uri: await dataUri(body) }));
    else if (isJson(body)) lines.add(body.replace(/[\r\n]+/g, " ")); // a string of JSON has no line break
    else skipped += 1;
  }
  const file = new Blob([[...lines, ""].join("\n")], { type: "application/x-ndjson" });
  element("a", { download: "inputs.jsonl", href: URL.createObjectURL(file) }).click();
  say(`Exported ${lines.size} inputs` + (skipped ? `; left out, as they are no JSON: ${skipped}.` : "."));
}

// The start

function listen() {
  const on = (id, event, action) => find(id).addEventListener(event, action);
  for (const radio of document.querySelectorAll("input[name=kind]")) {
    radio.addEventListener("change", () => chooseKind(radio.value));
  }
  on("preview", "error", () => (find("preview").hidden = true));
  on("choose", "click", () => find("file").click());
  on("file", "change", () => find("file").files[0] && askFile(find("file").files[0]));
  on("photograph", "click", openCamera);
  on("shoot", "click", takePhoto);
  on("close-camera", "click", closeCamera);
  on("camera", "cancel", closeCamera);
  on("again", "click", () => run(page.question, 1));
  on("many", "click", () => run(page.question, TIMES));
  on("cancel", "click", () => page.running?.abort());
  on("export", "click", exportHistory);
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  on("by-uri", "submit", () => askUri(find("uri").value));
  on("json-panel", "submit", () => askJson("request.json"));
  on("editor", "keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("json-panel").requestSubmit();
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      find("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) askFile(event.dataTransfer.files[0]);
    });
  }
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    const text = event.clipboardData.getData("text").trim();
    if (file) askFile(file);
    else if (event.target === document.body && /^(https?|s3|data):/i.test(text)) askUri(text);
  });
}

async function start() {
  history.replaceState(null, "", "/"); // the cookie has the token
  const about = await (await fetch("/about")).json();
  page.targets = about.targets;
  page.times = about.targets.map(() => []);
  document.title = `Playground: ${about.targets.map((target) => target.label).join(" and ")}`;
  find("parity").textContent = about.parity;
  find("targets").append(...about.targets.map((target, side) =>
    element("li", { className: `side${side}`, title: target.name }, target.label)));
  const requests = [];
  about.examples.forEach((example, number) => {
    if (!example.picture) return requests.push([example.name, number]);
    const source = `/examples/${number}`;
    const choose = async () => askPicture(await (await fetch(source)).blob(), example.name);
    const photo = button(example.name, choose, element("img", { src: source, alt: "", title: example.name }));
    return find("strip").append(element("li", {}, photo));
  });
  find("examples").append(...requests.map(([name, number]) => element("option", { value: number }, name)));
  find("examples").hidden = document.querySelector("label[for=examples]").hidden = !requests.length;
  const edit = async () => {
    const text = await (await fetch(`/examples/${find("examples").value}`)).text();
    find("editor").value = JSON.stringify(JSON.parse(text), null, 2);
  };
  find("examples").addEventListener("change", edit);
  if (requests.length) await edit();
  if (requests.length === about.examples.length) chooseKind("json");
  listen();
  document.documentElement.dataset.ready = "yes";
}

start();
