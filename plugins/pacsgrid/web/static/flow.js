// Where the studies are now, as a picture, and what became verified hour by hour.
import { age, bytes, h, inProject, Loaded, plural, Table, useAnswer, useState, view } from "./base.js";
import { Ingests } from "./ingests.js";

const WAY = ["found", "retrieved", "anonymised", "deposited", "replicated", "verified"];
const GONE = ["superseded", "not-wanted", "withdrawn"];
const SPANS = [
  ["48", "48 hours"],
  ["168", "7 days"],
  ["720", "30 days"],
];

function byState(states) {
  const sums = {};
  for (const row of states) {
    const sum = (sums[row.state] ??= { studies: 0, oldest: row.oldest });
    sum.studies += row.studies;
    if (row.oldest < sum.oldest) sum.oldest = row.oldest;
  }
  return sums;
}

function Box({ name, title = name, to = ["studies", name], sum, now, x, y, kind }) {
  const studies = sum?.studies ?? 0;
  const waits = studies && kind === "way" ? `longest ${age(sum.oldest, now)}` : "";
  return h(
    "g",
    { transform: `translate(${x} ${y})`, className: `pg-box pg-${studies ? kind : "empty"}` },
    h("a", { href: view(...to) },
      h("rect", { width: 132, height: 76, rx: 10 }),
      h("text", { x: 66, y: 34, className: "pg-count", "data-state": name }, studies.toLocaleString()),
      h("text", { x: 66, y: 54 }, title),
      h("text", { x: 66, y: 69, className: "pg-small" }, waits),
    ),
  );
}

function Picture({ flow }) {
  const sums = byState(flow.states);
  const step = 172;
  return h(
    "svg",
    { viewBox: "0 0 1000 232", role: "group", "aria-label": "Studies on their way", className: "pg-flow" },
    h("path", { className: "pg-line", d: `M 140 46 H ${step * 5}` }),
    h("path", { className: "pg-line pg-dashed", d: `M ${step + 66} 90 V 140 M ${step * 2 + 66} 90 V 116 H ${step + 66}` }),
    WAY.map((name, n) =>
      h(Box, {
        key: name, name, now: flow.now, x: 4 + step * n, y: 8, sum: sums[name],
        kind: name === "verified" ? "good" : "way",
      }),
    ),
    h(Box, { name: "held", title: "studies held", to: ["held", "study"], now: flow.now, x: 4 + step, y: 146, sum: sums.held, kind: "held" }),
    h(Box, {
      name: "held-files", title: "single files held", to: ["held", "file"], now: flow.now,
      x: 4 + step * 2, y: 146, sum: { studies: flow.held.files }, kind: "held",
    }),
    GONE.map((name, n) =>
      h(Box, { key: name, name, now: flow.now, x: 4 + step * (3 + n), y: 146, sum: sums[name], kind: "gone" })),
  );
}

function Reasons({ flow }) {
  const count = (kind, code, number) =>
    h("td", { className: "pg-number" }, number ? h("a", { href: view("held", kind, code) }, number.toLocaleString()) : "0");
  return h("section", null,
    h("h2", null, "Held, by reason"),
    h(Table, {
      head: ["Reason", "Whole studies", "Single files"],
      empty: "Nothing is held: no study waits for a steward.",
      rows: Object.entries(flow.held_reasons).map(([code, held]) =>
        h("tr", { key: code, "data-reason": code },
          h("td", null, h("a", { href: view("held", "", code) }, h("code", null, code))),
          count("study", code, held.studies), count("file", code, held.files))),
    }));
}

// What was left at the sources, and what content checks warn of.
function Notes({ flow }) {
  const { series, instances } = flow.not_wanted;
  const warnings = Object.entries(flow.content_warnings);
  return [
    series > 0 && h("p", { key: "not_wanted", className: "pg-quiet" },
      `Not wanted, and left at the sources: ${plural(series, "series", "series")} with ${plural(instances, "instance")}.`),
    warnings.length > 0 && h("p", { key: "warnings", className: "pg-quiet" },
      `Content warnings: ${warnings.map(([code, count]) => `${count.toLocaleString()} × ${code}`).join(", ")}.`),
  ];
}

// One bar an hour, or a day where hours would be too thin; the empty ones count.
function binned(volumes, now, hours) {
  const width = hours > 72 ? 24 : 1;
  const count = Math.ceil(hours / width);
  const bins = Array.from({ length: count }, () => ({ studies: 0, instances: 0, size: 0 }));
  const end = new Date(now);
  for (const volume of volumes) {
    const back = Math.floor((end - new Date(volume.hour)) / 3600000 / width);
    const bin = bins[count - 1 - Math.min(back, count - 1)];
    for (const key of Object.keys(bin)) bin[key] += volume[key];
  }
  return { bins, width };
}

function Throughput({ flow, hours }) {
  const { bins, width } = binned(flow.throughput, flow.now, hours);
  const top = Math.max(1, ...bins.map((bin) => bin.instances));
  const total = bins.reduce((sum, bin) => sum + bin.instances, 0);
  const size = bins.reduce((sum, bin) => sum + bin.size, 0);
  const slot = 900 / bins.length;
  const unit = width === 1 ? "hour" : "day";
  return h(
    "figure",
    null,
    h("svg", { viewBox: "0 0 1000 190", role: "img", "aria-label": `Instances verified per ${unit}`, className: "pg-plot" },
      [0, 0.5, 1].map((part) =>
        h("g", { key: part },
          h("line", { x1: 70, x2: 980, y1: 150 - 130 * part, y2: 150 - 130 * part }),
          (part !== 0.5 || top > 1) &&
            h("text", { x: 62, y: 154 - 130 * part, className: "pg-axis" }, Math.round(top * part).toLocaleString()),
        ),
      ),
      bins.map((bin, n) =>
        h("rect", {
          key: n, x: 76 + n * slot, width: Math.max(1, slot - 2),
          y: 150 - (130 * bin.instances) / top, height: (130 * bin.instances) / top,
        }, h("title", null, `${plural(bin.instances, "instance")}, ${plural(bin.studies, "study", "studies")}, ${bytes(bin.size)}`)),
      ),
      h("text", { x: 76, y: 174, className: "pg-small" }, `${bins.length} ${unit}s ago`),
      h("text", { x: 976, y: 174, className: "pg-axis" }, "now"),
    ),
    h("figcaption", null, `${plural(total, "instance")} (${bytes(size)}) verified, per ${unit}`),
  );
}

export function FlowView({ project, me }) {
  const [hours, setHours] = useState("48");
  const answer = useAnswer(inProject(`flow?hours=${hours}`, project), 5);
  return h(Loaded, { answer }, (flow) => [
    h("section", { key: "flow" }, h("h2", null, "Studies on their way"), h(Picture, { flow }), h(Notes, { flow })),
    h(Reasons, { key: "reasons", flow }),
    h(Ingests, { key: "ingests", project, me }),
    h("section", { key: "plot" },
      h("h2", null, "Throughput"),
      h("label", null, "Last ",
        h("select", { value: hours, onChange: (event) => setHours(event.target.value) },
          SPANS.map(([value, name]) => h("option", { key: value, value }, name)))),
      h(Throughput, { flow, hours: Number(hours) })),
  ]);
}
