const verdicts = ["holds", "not-supported", "not-testable", "violated", "broken"];
const noFilter = { text: "", chapter: "", profile: "", verdict: "", feature: "", article: "", different: false };
const filters = { ...noFilter, learner: false, different: data.runs.length > 1 };

/** Draws the whole page in the chosen language. */
function draw() {
  document.documentElement.lang = language;
  document.title = word("title");
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = word(place.dataset.word);
  const [summary, profiles] = ["summary", "profiles"].map(id => document.getElementById(id));
  for (const place of [summary, profiles]) place.replaceChildren(place.firstElementChild);
  summary.append(element("div", { class: "runs" }, data.runs.map(runPart)));
  profiles.append(scrolling(profileTable(), "profiles"));
  drawFilters();
  drawList();
}

function runPart(run, index) {
  const results = data.claims.map(c => c.results[index]).filter(r => r !== null);
  const terms = [term("implementation", run.implementations.join("; ") || word("none")),
    term("kernel", run.kernel ? `${run.kernel.release} (${run.kernel.kind})` : ""), term("started", run.startedAt), term("run", run.run),
    term("selected", `${results.length} ${word("of")} ${Math.max(run.catalogueSize, results.length)}`)];
  if (run.durationMs !== null) terms.push(term("duration", `${(run.durationMs / 1000).toFixed(1)} ${word("seconds")}`));
  if (run.command) terms.push([element("dt", {}, word("again")), element("dd", {}, element("code", {}, run.command))]);
  if (run.supportedFeatures.length > 0) terms.push(term("supported", run.supportedFeatures.join(", ")));
  if (run.unsupportedFeatures.length > 0) terms.push(term("unsupported", run.unsupportedFeatures.join(", ")));
  return element("div", {},
    element("ul", { class: "tiles" }, verdicts.map(v => element("li", {},
      element("b", { class: v }, String(results.filter(r => r.verdict === v).length)), ` ${word(v)}`))),
    element("dl", {}, terms),
    run.faults.length > 0 ? element("div", { class: "faults" }, element("h3", {}, word("faults")),
      list(run.faults)) : null,
    folded(word("tools"), () => list(Object.entries(run.tools).map(([name, version]) => `${name} ${version}`))));
}

function profileTable() {
  const names = [...new Set(data.runs.flatMap(r => r.profiles.map(p => p.name)))];
  return element("table", {},
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, word("profile")),
      data.runs.map(r => ["core", "extended"].map(part =>
        element("th", { scope: "col" }, word(part), data.runs.length > 1 ? ` (${r.run})` : ""))))),
    element("tbody", {}, names.map(name => element("tr", {}, element("th", { scope: "row" }, name), data.runs.map(run => {
      const profile = run.profiles.find(p => p.name === name);
      return ["core", "extended"].map(part => element("td", {}, profile && profile[part].count > 0
        ? [element("span", { class: profile[part].result }, word(profile[part].result)),
          ` ${profile[part].passed} ${word("of")} ${profile[part].count}`]
        : ""));
    })))));
}

function drawFilters() {
  const choices = (key, options) => element("label", {}, word(key), select(key, options));
  const check = (key) => {
    const box = element("input", { type: "checkbox" });
    box.checked = filters[key];
    box.addEventListener("change", () => {
      filters[key] = box.checked;
      drawList();
    });
    return element("label", { class: "check" }, box, word(key));
  };
  const search = element("input", { type: "search", id: "search", value: filters.text });
  search.addEventListener("input", () => {
    filters.text = search.value;
    drawList();
  });
  const unique = values => [...new Set(values)].map(v => [v, v]);
  document.getElementById("filters").replaceChildren(element("label", {}, word("search"), search),
    choices("chapter", data.chapters.map(c => [c.id, c.title])),
    choices("profile", unique(data.claims.map(c => c.profile))),
    choices("verdict", verdicts.map(v => [v, word(v)])),
    choices("feature", unique(data.claims.flatMap(c => c.features)).sort()),
    choices("article", ["right", "imprecise", "wrong", "silent"].map(v => [v, word(v)])),
    check("learner"), data.runs.length > 1 ? check("different") : "");

  function select(key, options) {
    const made = element("select", { id: `filter-${key}` }, element("option", { value: "" }, word("all")),
      options.map(([value, text]) => element("option", { value }, text)));
    made.value = filters[key];
    made.addEventListener("change", () => {
      filters[key] = made.value;
      drawList();
    });
    return made;
  }
}

function isShown(claim) {
  const text = [claim.id, claim.article.zh, claim.article.en, claim.article.correct ?? "", claim.method].join("\n").toLowerCase();
  return text.includes(filters.text.toLowerCase()) && (!filters.chapter || claim.chapter === filters.chapter)
    && (!filters.profile || claim.profile === filters.profile) && (!filters.feature || claim.features.includes(filters.feature))
    && (!filters.article || claim.article.verdict === filters.article) && (!filters.different || claim.differs)
    && (!filters.verdict || claim.results.some(r => r?.verdict === filters.verdict))
    && (!filters.learner || claim.article.verdict !== "silent");
}

function drawList() {
  const open = new Set([...document.querySelectorAll(".claim[open]")].map(c => c.id));
  const shown = data.claims.filter(isShown);
  document.getElementById("count").textContent = `${shown.length} ${word("of")} ${data.claims.length} ${word("shown")}`;
  document.getElementById("list").replaceChildren(...data.chapters.flatMap(chapter => {
    const claims = shown.filter(c => c.chapter === chapter.id);
    return claims.length === 0 ? [] : [element("h3", { id: `chapter-${chapter.id}` }, chapter.title),
      ...claims.map(c => filters.learner ? lesson(c) : claimRow(c))];
  }));
  for (const id of open) {
    const row = document.getElementById(id);
    if (row) row.open = true;
  }
}

/** The article's words beside what the kernel did. */
function lesson(claim) {
  const mark = claim.article.verdict;
  return element("div", { class: "article" },
    element("div", {}, element("strong", {}, word("articleSays")),
      element("blockquote", {}, element("p", { lang: "zh" }, claim.article.zh), element("p", { lang: "en" }, claim.article.en)),
      element("p", {}, `${word("article")} `, element("span", { class: `verdict ${mark}` }, word(mark)))),
    element("div", {}, element("strong", {}, word("kernelDid")),
      element("p", {}, claim.results.map((r, i) => [i > 0 ? " / " : "", verdictMark(r)]), ": ", element("span", { lang: "en" }, claim.proved)),
      list(claim.results[claim.results.length - 1]?.observed.map(preserve) ?? []),
      claimRow(claim)));
}

/** Opens the claim that the address names. Filters that hide it are cleared. */
function revealLinked() {
  const id = location.hash.slice(1);
  if (!data.claims.some(c => c.id === id)) return;
  if (!document.getElementById(id)) {
    Object.assign(filters, noFilter, { learner: false });
    drawFilters();
    drawList();
  }
  const row = document.getElementById(id);
  row.open = true;
  row.scrollIntoView();
}

const remembered = key => { try { return localStorage.getItem(key); } catch { return null; } };
const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a page from disk may have no storage */ } };

const settings = {
  colours: chosen => { document.documentElement.dataset.colours = chosen; },
  language: chosen => { language = chosen; draw(); },
};
for (const [id, set] of Object.entries(settings)) {
  const choice = document.getElementById(id), key = `ipvs-report-${id}`;
  const known = [remembered(key), id === "language" ? navigator.language.slice(0, 2) : null, choice.options[0].value]
    .find(value => [...choice.options].some(o => o.value === value));
  choice.value = known;
  choice.addEventListener("change", () => {
    remember(key, choice.value);
    set(choice.value);
  });
  set(choice.value);
}
document.getElementById("filters").addEventListener("submit", e => e.preventDefault());
addEventListener("hashchange", revealLinked);
addEventListener("keydown", e => {
  if (e.key !== "/" || e.ctrlKey || e.altKey || e.metaKey || e.target.matches("input, select")) return;
  e.preventDefault();
  document.getElementById("search").focus();
});
revealLinked();
