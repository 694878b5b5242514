/** A flow as a picture: a life line for each node, an arrow for each hop, what a node rewrote, and its entries of the flow at
  * the end. A lost packet ends at a cross; one that no capture shows arriving has a dashed arrow. */
function storyPicture(flow) {
  const hops = flow.hops;
  const nodes = [...new Set(hops.flatMap(h => [h.from, h.to]).filter(n => n !== null))];
  for (const entry of flow.entries) if (!nodes.includes(entry.node)) nodes.push(entry.node);
  const character = 7.3, row = 30, left = 90, top = 40;
  const texts = [...hops.map(h => h.packet), ...hops.map(h => `✎ ${h.rewrite ?? h.arrivedAs ?? ""}`), ...flow.entries.map(e => e.text)];
  const longest = Math.max(...texts.map(t => t.length)) * character;
  const lane = Math.max(130, nodes.length > 1 ? Math.min(230, longest / (nodes.length - 1)) : longest);
  const x = node => left + lane / 2 + nodes.indexOf(node) * lane;
  const width = Math.max(left + lane * nodes.length, left + longest + 20);
  const title = `${word("story")}: ${flow.from}, ${flow.protocol} ${flow.target}: ${flow.outcome}`;
  const svg = make("svg", { role: "img", "aria-label": title });
  const lanes = make("g", {});
  svg.append(lanes);
  for (const node of nodes) svg.append(text(node, x(node), 18, "head", "middle"));

  let y = top;
  hops.forEach((hop, index) => {
    if (hop.rewrite) {
      svg.append(fitted(`✎ ${hop.rewrite}`, x(hop.from), y + 4, "label rewrite"));
      y += 20;
    }
    if (index === 0 || hop.ms !== hops[index - 1].ms) svg.append(text(`${hop.ms.toFixed(3)} ms`, 80, y + 18, "time", "end"));
    const start = hop.from === null ? x(hop.to) - lane / 3 : x(hop.from);
    const end = hop.to === null ? start + (x(nodes[nodes.length - 1]) === start ? -lane / 3 : lane / 3)
      : hop.to === hop.from ? start + lane / 4 : x(hop.to);
    svg.append(make("line", { x1: start, y1: y + 20, x2: end, y2: y + 20, class: hop.isLost ? "arrow lost" : hop.to === null ? "arrow unseen" : "arrow" }));
    const tip = end > start ? -7 : 7;
    if (hop.isLost) svg.append(make("path", { d: `M${end - 5} ${y + 15}l10 10m0 -10l-10 10`, class: "arrow lost" }));
    else svg.append(make("path", { d: `M${end + tip} ${y + 16}L${end} ${y + 20}L${end + tip} ${y + 24}`, class: "arrow", fill: "none" }));
    svg.append(fitted(hop.packet, (start + end) / 2, y + 13, "label"));
    y += row;
    if (hop.arrivedAs) {
      svg.append(fitted(`✎ ${hop.arrivedAs}`, x(hop.to), y + 2, "label rewrite"));
      y += 18;
    }
  });
  if (flow.moreHops > 0) {
    svg.append(text(`+ ${flow.moreHops}`, left, y + 14, "time", "start"));
    y += 22;
  }
  for (const entry of flow.entries) {
    const wide = entry.text.length * character + 12;
    const middle = Math.min(Math.max(x(entry.node), left + wide / 2), Math.max(width - wide / 2, left + wide / 2));
    y += 8;
    svg.append(make("rect", { x: middle - wide / 2, y, width: wide, height: 36, rx: 4, class: "box" }));
    svg.append(text(`${entry.node}: ${entry.table}`, middle, y + 14, "time", "middle"), text(entry.text, middle, y + 29, "", "middle"));
    y += 38;
  }
  const height = y + 8;
  for (const node of nodes) lanes.append(make("line", { x1: x(node), y1: 26, x2: x(node), y2: height - 4, class: "lane" }));
  for (const [name, value] of [["width", width], ["height", height], ["viewBox", `0 0 ${width} ${height}`]]) svg.setAttribute(name, value);
  return svg;

  function fitted(content, middle, at, kind) {
    const half = content.length * character / 2;
    return text(content, Math.min(Math.max(middle, left + half), Math.max(width - half, left + half)), at, kind, "middle");
  }
  function text(content, at, down, kind, anchor) {
    const made = make("text", { x: at, y: down, class: kind, "text-anchor": anchor });
    made.textContent = content;
    return made;
  }
  function make(name, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }
}
