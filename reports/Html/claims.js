const data = JSON.parse(document.querySelector("script#data").textContent);
let unpacking = null;

/** The tests of all claims, unpacked when the first claim is opened. */
function evidence() {
  unpacking ??= (async () => {
    const packed = Uint8Array.from(atob(document.querySelector("script#evidence").textContent), c => c.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  })();
  return unpacking;
}

const verdictOf = result => result === null ? "absent" : result.verdict;
const verdictMark = result => element("span", { class: `verdict ${verdictOf(result)}` }, word(verdictOf(result)));

/** A claim as a row that opens to its evidence. */
function claimRow(claim) {
  const row = element("details", { class: "claim", id: claim.id },
    element("summary", {},
      element("span", { class: "id" }, claim.id),
      element("span", {}, claim.results.map((r, i) => [i > 0 ? " / " : "", verdictMark(r)])),
      element("span", { class: "text" }, claim.proved, " ",
        claim.provisional ? element("span", { class: "tag" }, word("provisional")) : null,
        ["imprecise", "wrong"].includes(claim.article.verdict) ? element("span", { class: "tag" }, word("erratum")) : null)));
  row.addEventListener("toggle", () => {
    if (row.open && row.children.length === 1) fill(row, claim);
  });
  return row;
}

/** Puts the evidence into an open row. */
async function fill(row, claim) {
  const body = element("div", { class: "body" });
  row.append(body);
  body.append(element("dl", {},
    claim.article.zh ? [element("dt", {}, word("articleSays")), element("dd", {}, element("span", { lang: "zh" }, claim.article.zh))] : [],
    term("statement", claim.article.en), claim.article.correct ? term("correct", claim.article.correct) : [],
    term("article", word(claim.article.verdict)), term("method", claim.method), term("profile", claim.profile),
    claim.features.length > 0 ? term("feature", claim.features.join(", ")) : [],
    element("dt", {}, word("link")), element("dd", {}, element("a", { href: `#${claim.id}` }, `#${claim.id}`))));
  let tests;
  try {
    tests = (await evidence())[claim.id];
  } catch (error) {
    body.append(element("p", { class: "faults" }, `${word("unpackFailed")}: ${error.message}`));
    return;
  }
  const sides = element("div", { class: data.runs.length > 1 ? "sides" : "" });
  body.append(sides);
  tests.forEach((ofRun, index) => {
    const run = data.runs[index];
    const side = element("div", {}, data.runs.length > 1 ? element("h3", {}, run.run, " ", verdictMark(claim.results[index])) : null);
    for (const test of ofRun ?? []) side.append(...testParts(test, run, test === ofRun[0]));
    if (ofRun !== null) side.append(commands(claim, ofRun, run));
    sides.append(side);
  });
}

const term = (key, text) => [element("dt", {}, word(key)), element("dd", {}, text)];

/** One test: its verdict and reason, the lab, the stories, the tables, the captures. */
function testParts(test, run, isFirst) {
  const parts = [element("h3", {}, `${word("test")}: ${test.name.replace(/^Conformance\.Suite\./, "")}`),
    element("p", {}, element("span", { class: `verdict ${test.verdict}` }, word(test.verdict)),
      ` · ${test.implementation} · ${(test.ms / 1000).toFixed(1)} ${word("seconds")}`)];
  if (test.reason) parts.push(element("h4", {}, word("reason")), scrolling(element("pre", { tabindex: 0 }, test.reason), "reason"));
  if (test.observed.length > 0) parts.push(element("h4", {}, word("observed")), list(test.observed.map(preserve)));
  const drawing = data.topologies[test.topology];
  if (drawing) parts.push(folded(`${word("topology")}: ${test.topology}`, () => scrolling(drawn(drawing), "topology"), isFirst));
  if (test.steps.length > 0) {
    parts.push(folded(word("steps"), () => numbered(test.steps.map(([ms, node, text]) => `${ms.toFixed(0)} ms ${node}: ${text}`))));
  }
  test.flows.forEach((flow, index) => parts.push(storyPart(flow, (isFirst && index === 0) || test.verdict !== "holds")));
  if (test.moreFlows > 0) parts.push(element("p", {}, `+ ${test.moreFlows} ${word("more")}`));
  for (const table of test.tables) {
    parts.push(folded(`${word("tables")} ${table.node}: ${table.title}`, () => element("pre", { tabindex: 0 }, table.text)));
  }
  if (test.attachments.length > 0) {
    parts.push(folded(word("captures"), () => list(test.attachments.map(a =>
      element("a", { href: `${run.base}/${encodeURI(a.path)}`, download: "" }, a.name)))));
  }
  return parts;
}

/** A flow: the picture, the rules that it passed, and the same as text. */
function storyPart(flow, open) {
  const title = `${word("story")}: ${flow.from} (${flow.local}) → ${flow.protocol} ${flow.target}: ${flow.outcome}`;
  return folded(title, () => element("div", {},
    flow.hops.length === 0 ? element("p", {}, word("noPackets")) : null,
    flow.hops.length + flow.entries.length > 0 ? scrolling(storyPicture(flow), "story") : null,
    [...new Set(flow.rules.map(r => r.node))].map(node => [element("h4", {}, `${word("rules")} ${node}`),
      numbered(flow.rules.filter(r => r.node === node).map(r => r.text))]),
    flow.hops.length > 0 ? folded(word("packetsAsText"), () => numbered(flow.hops.map(asText))) : null),
    open);
}

const asText = hop => `${hop.ms.toFixed(3)} ms ${hop.from ?? "?"}:${hop.device} → ${hop.to ?? "?"}: ${hop.packet}`
  + (hop.rewrite ? ` — ${hop.from} ${word("rewrites")} ${hop.rewrite}` : "") + (hop.arrivedAs ? ` — ✎ ${hop.arrivedAs}` : "");

/** The commands by which a reader sees the same. In a lab that is up, the steps of the test come first. */
function commands(claim, tests, run) {
  const test = tests.find(t => t.topology) ?? { flows: [] };
  const isCluster = /^cluster/.test(test.topology ?? "");
  const quote = text => `'${text.replaceAll("'", "'\\''")}'`;
  const proxy = isCluster ? ` --proxy ${quote(test.proxy)}` : "";
  const lines = [`./lab run --filter ${claim.id}${proxy}`];
  if (test.topology) lines.push(`./lab up ${test.topology}${proxy}${isCluster ? " -f topologies/services/article.yaml" : ""}`);
  const [flow] = test.flows;
  if (flow) lines.push(`lab explain ${flow.from} ${flow.target}${flow.protocol === "udp" ? " --udp" : ""}    # ${word("labOnly")}`);
  return element("div", {}, element("h4", {}, word("commands")), scrolling(element("pre", { tabindex: 0 }, lines.join("\n")), "commands"),
    element("p", {}, element("a", { href: `${run.base}/claims/${claim.id}.json` }, word("record"))));
}

/** A part that is drawn when it is opened. */
function folded(title, content, open = false) {
  const made = element("details", {}, element("summary", {}, title));
  const show = () => {
    if (made.open && made.children.length === 1) made.append(content());
  };
  made.addEventListener("toggle", show);
  made.open = open;
  show();
  return made;
}

const list = items => element("ul", {}, items.map(i => element("li", {}, i)));
const numbered = lines => element("ol", { class: "plain", tabindex: 0 }, lines.map(l => element("li", {}, l)));
const scrolling = (content, kind) =>
  element("div", { class: `scroll ${kind}`, tabindex: 0, role: "region", "aria-label": word(kind) }, content);
const preserve = text => text.includes("\n") ? element("pre", { tabindex: 0 }, text) : text;
const drawn = svg => document.importNode(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement, true);
