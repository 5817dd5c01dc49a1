"use strict";

const at = (id) => document.getElementById(id);
const form = at("form");
let run = 0; // rises with every photo, so that answers about an earlier one are dropped
let job = null;
let urls = [];
let key = sessionStorage.getItem("key") || ""; // forgotten with the tab

function show(message, isError = false) {
  at("status").hidden = false;
  at("message").textContent = message;
  at("message").classList.toggle("error", isError);
  at("progress").hidden = isError;
  at("cancel").hidden = isError;
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, key ? { ...options, headers: { Authorization: `Bearer ${key}` } } : options);
  } catch {
    throw new Error("The service cannot be reached.");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) at("access").hidden = false;
  const problem = await answer.json().catch(() => ({}));
  const error = new Error(problem.detail || `The service answered ${answer.status}.`);
  error.retryable = Boolean(problem.retryable);
  throw error;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function objectUrl(blob) {
  const url = URL.createObjectURL(blob);
  urls.push(url);
  return url;
}

async function follow(mine) {
  for (;;) {
    if (mine !== run) return null;
    if (job.state === "succeeded") return job;
    if (job.state === "failed") throw new Error(`${job.error?.detail || "The restoration failed."}`);
    if (job.state === "canceled") throw new Error("Canceled.");
    if (job.state === "expired") throw new Error("The result has expired.");
    const waiting = job.state === "queued";
    show(waiting ? "Waiting for a worker…" : job.steps_total ? `Step ${job.step} of ${job.steps_total}…` : "Looking at the photo…");
    if (job.steps_total) at("progress").value = job.progress;
    else at("progress").removeAttribute("value");
    await pause(500);
    try {
      job = await (await ask(job.links.self)).json();
    } catch (error) {
      if (!error.retryable) throw error;
    }
  }
}

function showFindings(found) {
  const body = at("findings").querySelector("tbody");
  body.replaceChildren();
  for (const { kind, probability, severity } of [...found].sort((a, b) => b.severity * b.probability - a.severity * a.probability)) {
    const row = body.insertRow();
    row.insertCell().textContent = kind;
    for (const value of [severity, probability]) {
      const meter = document.createElement("meter");
      meter.value = value;
      row.insertCell().append(meter, `${Math.round(value * 100)} %`);
    }
  }
  at("findings").hidden = found.length === 0;
}

function split() {
  at("before").style.clipPath = `inset(0 ${100 - at("split").value}% 0 0)`;
}

async function restore(photo) {
  const mine = ++run;
  for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  at("outcome").hidden = true;
  at("progress").removeAttribute("value");
  job = null;
  show("Sending the photo…");
  try {
    const data = new FormData(form);
    data.append("image", photo, photo.name || "photo");
    const started = performance.now();
    const accepted = await (await ask("restore", { method: "POST", body: data })).json();
    if (mine !== run) return;
    job = accepted;
    if ((await follow(mine)) === null) return;
    const result = await (await ask(job.links.result)).blob();
    if (mine !== run) return;
    at("status").hidden = true;
    at("outcome").hidden = false;
    at("compare").hidden = false;
    at("unseen").hidden = true;
    at("before").hidden = at("split").hidden = false;
    at("before").src = objectUrl(photo);
    at("after").src = at("download").href = objectUrl(result);
    at("download").download = `${(photo.name || "photo").replace(/\.[^.]*$/, "")}-restored.${result.type.split("/")[1].replace("jpeg", "jpg")}`;
    at("took").textContent = `${((performance.now() - started) / 1000).toFixed(1)} s, ${job.input.width} × ${job.input.height} pixels`;
    at("caption").textContent = job.caption ? `Seen as: ${job.caption}` : "";
    at("caption").hidden = !job.caption;
    showFindings(job.degradations);
    split();
  } catch (error) {
    if (mine === run) show(error.message, true);
  }
}

async function offerModels() {
  const { models } = await (await ask("models")).json();
  if (models.length < 2) return;
  at("models").querySelector("select").replaceChildren();
  for (const { name } of models) at("models").querySelector("select").add(new Option(name));
  at("models").hidden = false;
}

offerModels().catch(() => {}); // without a choice the service takes its first model
at("key").addEventListener("change", () => {
  key = at("key").value.trim();
  sessionStorage.setItem("key", key);
  offerModels().then(() => (at("status").hidden = true)).catch((error) => show(error.message, true));
});
at("file").addEventListener("change", () => {
  const photo = at("file").files[0];
  at("file").value = "";
  if (photo) restore(photo);
});
at("split").addEventListener("input", split);
at("cancel").addEventListener("click", async () => {
  if (!job) run++, (at("status").hidden = true);
  else await ask(job.links.cancel, { method: "DELETE" }).catch((error) => show(error.message, true));
});
// Formats that this browser cannot draw: the other picture still shows, and the download works.
at("before").addEventListener("error", () => (at("before").hidden = at("split").hidden = true));
at("after").addEventListener("error", () => {
  at("compare").hidden = true;
  at("unseen").hidden = false;
});
form.addEventListener("submit", (event) => event.preventDefault());
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  const photo = event.dataTransfer.files[0];
  if (photo) restore(photo);
});
document.addEventListener("paste", (event) => {
  const photo = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
  if (photo) restore(photo);
});
