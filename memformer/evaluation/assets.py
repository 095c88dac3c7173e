"""The page's style sheet and script."""

import json

from memformer.evaluation.drawing import LAYER_GROUPS

STYLE = """
:root { --ink: #22262b; --soft: #5d666f; --line: #e4e7ea; --paper: #fdfdfc; --blue: #0b5fa5; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.6 Charter, "Bitstream Charter", "Iowan Old Style", Georgia, "DejaVu Serif", serif; }
header, main { max-width: 64rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3.5rem; }
.kicker, .by, .note, figcaption, table, dl, .panel, .map, small, summary, .hint, .warn {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans",
    sans-serif; }
.kicker { margin: 0; color: var(--blue); font-size: .8rem; letter-spacing: .08em;
  text-transform: uppercase; }
h1 { margin: .3rem 0 1rem; font-size: clamp(1.7rem, 4.5vw, 2.6rem); line-height: 1.15;
  font-weight: 600; text-wrap: balance; }
.lead { max-width: 46rem; font-size: 1.2rem; line-height: 1.5; }
.by { color: var(--soft); font-size: .85rem; }
h2 { margin: 3.2rem 0 .6rem; font-size: 1.45rem; line-height: 1.25; font-weight: 600; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; margin: .5rem 0; }
figcaption, .note { max-width: 46rem; color: var(--soft); font-size: .87rem; line-height: 1.5; }
.warn { margin: 1.5rem 0 0; padding: .7rem 1rem; border-left: 3px solid #e98a23;
  background: #fdf5ea; font-size: .87rem; line-height: 1.5; }
.table { overflow-x: auto; margin-top: 1.2rem; }
table { width: 100%; border-collapse: collapse; font-size: .86rem; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
caption { padding: .3rem 0; text-align: left; font-weight: 600; }
th, td { padding: .45rem .6rem; text-align: right; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 1.5px solid var(--ink); color: var(--soft); font-weight: 500; }
tbody th { text-align: left; font-weight: 500; white-space: normal; min-width: 7.5rem; }
tbody tr { border-bottom: 1px solid var(--line); }
th.left, td.left { text-align: left; }
td small, th small { display: block; color: var(--soft); font-weight: 400; font-size: .76rem; }
tr.strong { background: #eef4fa; }
.limits li { margin: .45rem 0; max-width: 46rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .86rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
main { padding-bottom: 5rem; }
.gain { color: #1a66ad; } .loss { color: #b3640f; }
.reader { display: grid; grid-template-columns: minmax(0, 1fr) 23rem; gap: 1.8rem;
  align-items: start; margin-top: 1rem; }
.text { margin: 0; font-size: 1.1rem; line-height: 1.95; white-space: pre-wrap; }
.t { border-radius: 3px; cursor: pointer; padding: .12em 0; }
.t:hover, .t:focus { outline: 1.5px solid var(--ink); outline-offset: 1px; }
.t.on { outline: 2px solid var(--ink); outline-offset: 1px; }
.panel { position: sticky; top: 1rem; padding: 1rem; border: 1px solid var(--line);
  border-radius: 8px; background: #fff; font-size: .84rem; line-height: 1.45; min-height: 12rem; }
.panel h3 { margin: 0 0 .15rem; font: 600 1.15rem/1.3 Charter, Georgia, "DejaVu Serif", serif; }
.panel p { margin: 0 0 .5rem; }
.panel .sum { color: var(--soft); }
.panel ol { margin: .2rem 0 0; padding: 0; list-style: none; }
.panel li { padding: .35rem 0; }
.panel li + li { border-top: 1px solid var(--line); }
.panel h4 { margin: .8rem 0 0; font-size: .78rem; font-weight: 600; color: var(--soft); }
.panel h4::before { content: ""; display: inline-block; width: .7em; height: .7em;
  margin-right: .45em; border-radius: 2px; background: var(--c); }
.panel q { display: block; quotes: none;
  font: .95rem/1.45 Charter, Georgia, "DejaVu Serif", serif; }
.panel small { color: var(--soft); }
.panel a { color: var(--blue); }
mark { background: #ffe08a; border-radius: 2px; padding: 0 1px; }
.map { margin-top: 1.3rem; font-size: .75rem; color: var(--soft); }
.map p { display: flex; justify-content: space-between; margin: .2rem 0; }
.strip { position: relative; height: 2.1rem; border-radius: 4px; background: #f0f2f4;
  overflow: hidden; }
.strip i { position: absolute; top: 0; bottom: 0; width: 1px; background: #c5cbd1; }
.strip b { position: absolute; bottom: 0; width: 3px; margin-left: -1px;
  border-radius: 2px 2px 0 0; }
.strip u { position: absolute; top: 0; bottom: 0; width: 2px; background: var(--ink); }
details { margin-top: .9rem; } summary { cursor: pointer; font-size: .9rem; color: var(--blue); }
.place { margin: .9rem 0; max-width: 46rem; font-size: .97rem; line-height: 1.55; }
.place small { display: block; color: var(--soft); font-size: .75rem; }
.place:target { background: #eef4fa; box-shadow: 0 0 0 .5rem #eef4fa; border-radius: 2px; }
@media (max-width: 46rem) {
  body { font-size: 16px; }
  header { padding-top: 2rem; }
  .lead { font-size: 1.08rem; }
  .reader { display: block; }
  .panel { position: sticky; top: auto; bottom: 0; max-height: 46vh; overflow-y: auto;
    margin: 1rem -.6rem 0; border-radius: 10px 10px 0 0; box-shadow: 0 -4px 18px #0002; }
  th, td { padding: .4rem .45rem; }
}
@media print { .panel, .map { display: none; } }
"""

SCRIPT = (
    f"const colours = {json.dumps(LAYER_GROUPS)};"
    + """
const all = JSON.parse(document.getElementById("passages").textContent);
const esc = s => s.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const show = s => esc(s).replace(/\\n+/g, " ");
for (const section of document.querySelectorAll(".passage")) {
  const k = section.dataset.number, data = all[k];
  const panel = section.querySelector(".panel"), strip = section.querySelector(".strip");
  const marks = strip.innerHTML;
  let pinned = null;
  const choose = span => {
    const t = data.tokens[span.dataset.i];
    section.querySelectorAll(".t.on").forEach(each => each.classList.remove("on"));
    span.classList.add("on");
    const gain = (t.gain > 0 ? "+" : "−") + Math.abs(t.gain).toFixed(2);
    const item = f => `<li><q>… ${show(f.before)}<mark>${show(f.text)}</mark>` +
      `${show(f.after)} …</q><small>${f.distance.toLocaleString("en")} tokens back · ` +
      (f.chapter ? esc(f.chapter) + " · " : "") +
      `<a href="#place-${k}-${f.place}">token ${f.token.toLocaleString("en")}</a>` +
      ` · ${f.share}% of attention there, most in layer ${f.layer}, head ${f.head}` +
      ` (weight ${f.weight})</small></li>`;
    const lists = data.groups.map((name, g) => `<h4 style="--c:${colours[g]}">${name}</h4><ol>` +
      t.found.filter(f => f.group === g).map(item).join("") + "</ol>").join("");
    panel.innerHTML = `<h3>“${show(t.text).trim() || "line break"}”</h3>` +
      `<p class="sum">${t.nats.toFixed(2)} nats with memory, gain ${gain}. While reading ` +
      `“${show(t.read).trim() || "line break"}” before it, ` +
      `${t.mass}% of attention went to memory.</p>` +
      lists;
    const top = Math.max(...t.found.map(f => f.share), 1e-9);
    strip.innerHTML = marks + t.found.map(f =>
      `<b style="left:${100 * f.token / data.n}%;height:${15 + 85 * f.share / top}%;` +
      `background:${colours[f.group]}"></b>`
    ).join("") +
      `<u style="left:${100 * t.at / data.n}%"></u>`;
  };
  for (const span of section.querySelectorAll(".t")) {
    span.addEventListener("mouseenter", () => { if (!pinned) choose(span); });
    span.addEventListener("focus", () => choose(span));
    span.addEventListener("click", () => { pinned = pinned === span ? null : span; choose(span); });
  }
  panel.addEventListener("click", event => {
    const link = event.target.closest("a");
    if (link) section.querySelector(".places").open = true;
  });
  const first = data.tokens.reduce((a, t, i) => t.gain > data.tokens[a].gain ? i : a, 0);
  choose(section.querySelector(`.t[data-i="${first}"]`));
}
"""
)
