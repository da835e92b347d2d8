// The cohort builder: conditions or a query, live counts, distributions, and the series with pictures.
import { address, bytes, h, Loaded, plural, send, Table, useAnswer, useEffect, useState } from "./base.js";

const COMMON = [
  "Modality", "BodyPartExamined", "PatientAge", "PatientSex", "SliceThickness", "ContrastBolusAgent",
  "StudyDate", "StudyDescription", "SeriesDescription", "Manufacturer", "NumberOfSeriesRelatedInstances",
];
const SIGNS = {
  text: [["=", "is"], ["!=", "is not"], ["~", "has the words"], ["has", "has a value"], ["not has", "has no value"]],
  number: [["=", "is, or from..to"], ["<=", "up to"], [">=", "from"], ["has", "has a value"], ["not has", "has no value"]],
};
const TITLES = {
  sex: "Sex", age: "Age, years", year: "Study year", modality: "Modality", body_part: "Body part",
  manufacturer: "Manufacturer", thickness: "Slice thickness, mm",
};
const OF_STUDIES = ["sex", "age", "year"];

// A distribution's bar as a condition.
const CONDITIONS = {
  sex: (value) => `PatientSex = ${quoted(value)}`,
  age: (value) => `PatientAge >= ${value} and PatientAge < ${Number(value) + 10}`,
  year: (value) => `StudyDate = ${value}`,
  modality: (value) => `Modality = ${quoted(value)}`,
  body_part: (value) => `BodyPartExamined = ${quoted(value)}`,
  manufacturer: (value) => `Manufacturer = ${quoted(value)}`,
  thickness: (value) => `SliceThickness >= ${value}` + (Number(value) < 10 ? ` and SliceThickness < ${Number(value) + 0.5}` : ""),
};

function quoted(value) {
  if (/^[\w.*?-]+$/.test(value) && !/^(and|or|not|has|in|between)$/i.test(value)) return value;
  return value.includes('"') ? `'${value}'` : `"${value}"`;
}

function condition({ name, sign, value }) {
  if (sign === "has" || sign === "not has") return `${sign} ${name}`;
  return `${name} ${sign} ${quoted(value.trim())}`;
}

const api = (project, path) => address(`api/cohorts/${encodeURIComponent(project)}/${path}`);
const shown = (count, smallest) => (count === null ? `fewer than ${smallest}` : count.toLocaleString());

function later(value, milliseconds) {
  const [settled, settle] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => settle(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

// Post again whenever what is asked changes; an answer that comes too late is dropped.
function usePost(url, body) {
  const [state, setState] = useState({ data: null, error: null });
  const key = body && JSON.stringify(body);
  useEffect(() => {
    if (!key) {
      setState({ data: null, error: null });
      return undefined;
    }
    let left = false;
    send(url, JSON.parse(key)).then(
      (data) => left || setState({ data, error: null }),
      (error) => left || setState((was) => ({ ...was, error: error.message })),
    );
    return () => {
      left = true;
    };
  }, [url, key]);
  return state;
}

function Plot({ name, bars, smallest, add }) {
  const most = Math.max(1, ...bars.map((bar) => bar.count ?? 0));
  const unit = OF_STUDIES.includes(name) ? ["study", "studies"] : ["series", "series"];
  const rows = bars.slice(0, 12);
  return h("figure", { className: "pg-bars", "data-plot": name },
    h("figcaption", null, `${TITLES[name]} (${unit[1]})`),
    h("svg", { viewBox: `0 0 320 ${rows.length * 22}`, role: "group", "aria-label": TITLES[name] },
      rows.map((bar, n) => {
        const label = bar.value || "none";
        const count = bar.count === null ? `fewer than ${smallest}` : plural(bar.count, ...unit);
        const text = label.length > 16 ? `${label.slice(0, 15)}…` : label;
        const pick = bar.value ? () => add(CONDITIONS[name](bar.value)) : undefined;
        return h("g", {
          key: label, transform: `translate(0 ${n * 22})`, className: pick ? "pg-pick" : "",
          role: pick ? "button" : undefined, tabIndex: pick ? 0 : undefined,
          // It begins with what is to be seen, for people who speak to their computer.
          "aria-label": `${text} ${shown(bar.count, smallest)} ${bar.count === 1 ? unit[0] : unit[1]}`, onClick: pick,
          onKeyDown: pick && ((event) => ["Enter", " "].includes(event.key) && (event.preventDefault(), pick())),
        },
          text !== label && h("title", null, `${label}: ${count}`),
          h("text", { x: 104, y: 15, className: "pg-axis" }, text),
          h("rect", { x: 110, y: 3, height: 15, width: Math.max(1, (140 * (bar.count ?? 0)) / most) }),
          h("text", { x: 256, y: 15, className: "pg-small" }, ` ${shown(bar.count, smallest)}`));
      })),
    bars.length > rows.length && h("small", { className: "pg-quiet" }, `and ${bars.length - rows.length} more`));
}

function Counts({ answer }) {
  const { smallest, exact } = answer;
  const number = (name, count, one, many) =>
    h("div", { key: name, "data-count": name }, h("strong", null, shown(count, smallest)), ` ${count === 1 ? one : many}`);
  return h("div", { className: "pg-counts", role: "status" },
    number("subjects", answer.subjects, "patient", "patients"),
    number("studies", answer.studies, "study", "studies"),
    number("series", answer.series, "matching series", "matching series"),
    exact && h("div", { key: "size", "data-count": "instances" },
      `${plural(answer.instances, "instance")}, ${bytes(answer.bytes)} in the whole studies`),
    !exact && h("div", { key: "rounded", className: "pg-quiet" }, `Counts are rounded down to multiples of ${smallest}.`));
}

function Gate({ answer }) {
  if (!answer.small_studies) return null;
  return h("div", { className: "pg-warning" },
    `${plural(answer.small_studies, "study is", "studies are")} in cells with fewer than ${answer.smallest} patients. `,
    "Widen the query, or choose below to drop or to keep them.",
    h(Table, {
      head: ["Cell", "Patients", "Studies"], empty: "",
      rows: answer.small_cells.map((cell) =>
        h("tr", { key: cell.values.join("/") },
          h("td", null, cell.values.map((value) => value || "unknown").join(", ")),
          h("td", { className: "pg-number" }, cell.subjects),
          h("td", { className: "pg-number" }, cell.refs.length))),
    }));
}

function Conditions({ attributes, add }) {
  const [one, set] = useState({ name: "Modality", sign: "=", value: "" });
  const change = (key) => (event) => set({ ...one, [key]: event.target.value });
  const signs = SIGNS[attributes[one.name] === "text" ? "text" : "number"];
  const sign = signs.some(([key]) => key === one.sign) ? one.sign : "=";
  const valued = !sign.endsWith("has");
  const rest = Object.keys(attributes).filter((name) => !COMMON.includes(name));
  const options = (names) => names.map((name) => h("option", { key: name, value: name }, name));
  const submit = (event) => {
    event.preventDefault();
    if (valued && !one.value.trim()) return;
    add(condition({ ...one, sign }));
    set({ ...one, value: "" });
  };
  return h("form", { className: "pg-condition", onSubmit: submit },
    h("label", null, "Attribute ",
      h("select", { value: one.name, onChange: change("name") },
        h("optgroup", { label: "Common" }, options(COMMON)), h("optgroup", { label: "All" }, options(rest)))),
    h("label", null, "Condition ",
      h("select", { value: sign, onChange: change("sign") },
        signs.map(([key, title]) => h("option", { key, value: key }, title)))),
    valued && h("label", null, "Value ", h("input", { value: one.value, onChange: change("value") })),
    h("button", { type: "submit" }, "Add condition"));
}

function Picture({ project, uid }) {
  const [broken, setBroken] = useState(false);
  if (broken) return h("div", { className: "pg-thumb pg-quiet" }, "no picture");
  return h("img", {
    className: "pg-thumb", loading: "lazy", alt: `Middle image of series ${uid.slice(-8)}`,
    src: api(project, `series/${uid}/picture`), onError: () => setBroken(true),
  });
}

const FACTS = ["Modality", "BodyPartExamined", "SliceThickness", "SeriesDescription", "Manufacturer", "PatientAge", "PatientSex", "ContrastBolusAgent"];

function Series({ project, query, excluded, setExcluded }) {
  const [pages, setPages] = useState([""]);
  const after = pages[pages.length - 1];
  useEffect(() => setPages([""]), [query]);
  const { data, error } = usePost(api(project, "series"), { criteria: [query], after });
  const toggle = (uid) => {
    const next = new Set(excluded);
    if (!next.delete(uid)) next.add(uid);
    setExcluded(next);
  };
  if (error) return h("p", { className: "pg-error", role: "alert" }, error);
  if (!data) return h("p", { className: "pg-quiet" }, "Loading…");
  return h("section", null,
    h("h2", null, "Series", excluded.size > 0 && h("small", null, ` ${plural(excluded.size, "series", "series")} left out`)),
    h(Table, {
      head: ["Take", "Image", "Subject", "Series", "Instances"],
      empty: "No series matches; take a condition away.",
      rows: data.map((row) =>
        h("tr", { key: row.series_uid, "data-series": row.series_uid, className: excluded.has(row.series_uid) ? "pg-left-out" : "" },
          h("td", null, h("input", {
            type: "checkbox", checked: !excluded.has(row.series_uid), onChange: () => toggle(row.series_uid),
            "aria-label": `Take series ${row.series_uid}`,
          })),
          h("td", null, h(Picture, { project, uid: row.series_uid })),
          h("td", { className: "pg-ref" }, row.subject),
          h("td", { className: "pg-wide", title: row.series_uid },
            FACTS.filter((name) => row.labels[name]).map((name) => row.labels[name]).join(", ")),
          h("td", { className: "pg-number" }, row.instances.toLocaleString()))),
    }),
    h("p", null,
      pages.length > 1 && h("button", { type: "button", onClick: () => setPages(pages.slice(0, -1)) }, "Back"),
      " ",
      data.length > 0 && new Set(data.map((row) => row.ref)).size === 20 &&
        h("button", { type: "button", onClick: () => setPages([...pages, data[data.length - 1].ref]) }, "More")));
}

function Keep({ project, query, excluded, load }) {
  const saved = useAnswer(`cohorts/${encodeURIComponent(project)}/saved`, 0);
  const [list, setList] = useState(null);
  const [told, tell] = useState({});
  const [matching, setMatching] = useState(false);
  const [small, setSmall] = useState("refuse");
  const names = list ?? saved.data ?? [];
  const attempt = (work) => async () => {
    tell({ wait: true });
    try {
      tell(await work());
    } catch (error) {
      tell({ error: error.message });
    }
  };
  const [name, setName] = useState("");
  const left = [...excluded];
  const save = attempt(async () => {
    const body = { name, criteria: [query], excluded: left, matching };
    setList(await send(api(project, "saved"), body));
    return { done: `Saved as ${name}.` };
  });
  const release = attempt(async () => {
    const runs = new URL("../api/v2/dags/release_cohort/dagRuns", address(""));
    const conf = { project, name, criteria: [query], excluded: left, matching_series: matching, small_cells: small };
    return { run: (await send(runs, { logical_date: null, conf })).dag_run_id };
  });
  const remove = (one) => attempt(async () => {
    setList(await send(api(project, `saved/${encodeURIComponent(one)}/remove`), {}));
    return { done: `${one} is no longer listed.` };
  });
  return h("section", null,
    h("h2", null, "Save or release"),
    h("div", { className: "pg-condition" },
      h("label", null, "Name ", h("input", { value: name, onChange: (event) => setName(event.target.value) })),
      h("label", null, h("input", { type: "checkbox", checked: matching, onChange: () => setMatching(!matching) }), " the matching series only"),
      h("label", null, "Small cells ",
        h("select", { value: small, onChange: (event) => setSmall(event.target.value) },
          h("option", { value: "refuse" }, "refuse the release"), h("option", { value: "drop" }, "drop their studies"),
          h("option", { value: "keep" }, "keep their studies"))),
      h("button", { type: "button", onClick: save, disabled: !name || !query || Boolean(told.wait) }, "Save"),
      h("button", { type: "button", onClick: release, disabled: !name || !query || Boolean(told.wait) }, "Release")),
    told.error && h("p", { className: "pg-error", role: "alert" }, told.error),
    told.done && h("p", { className: "pg-done" }, told.done),
    told.run && h("p", { className: "pg-done" }, "Started; approve it under Required actions: ",
      h("a", { href: new URL(`../dags/release_cohort/runs/${encodeURIComponent(told.run)}`, address("")).href }, told.run)),
    names.length > 0 && h("ul", { className: "pg-saved" }, names.map((one) =>
      h("li", { key: one.name },
        h("button", { type: "button", onClick: () => { setName(one.name); setMatching(one.matching); load(one); } }, one.name),
        h("code", null, ` ${one.criteria.join(" and ")} `),
        h("button", { type: "button", "aria-label": `Remove ${one.name}`, onClick: remove(one.name) }, "Remove")))));
}

function Builder({ project, attributes, me }) {
  const [query, setQuery] = useState("");
  const [excluded, setExcluded] = useState(new Set());
  const settled = later(query.trim(), 300);
  const criteria = settled ? [settled] : [];
  const { data, error } = usePost(api(project, "count"), { criteria, excluded: [...excluded] });
  const add = (text) => setQuery((was) => (was.trim() ? `${/ or /i.test(was) ? `(${was.trim()})` : was.trim()} and ${text}` : text));
  const load = (one) => {
    setQuery(one.criteria.length > 1 ? one.criteria.map((text) => `(${text})`).join(" and ") : one.criteria[0]);
    setExcluded(new Set(one.excluded));
  };
  return [
    h("section", { key: "query" },
      h("h2", null, "Choose images by what they are"),
      h(Conditions, { attributes, add }),
      h("label", { className: "pg-field pg-query" }, h("span", null, "Query"),
        h("textarea", {
          rows: 3, value: query, spellCheck: false, onChange: (event) => setQuery(event.target.value),
          placeholder: "Modality = CT and SliceThickness <= 1.5 and not has ContrastBolusAgent",
        })),
      error && h("p", { className: "pg-error", role: "alert" }, error),
      data && h(Counts, { answer: data }),
      data && h(Gate, { answer: data })),
    data && h("section", { key: "plots", className: "pg-plots" },
      Object.entries(data.distributions).map(([name, bars]) =>
        bars.length > 0 && h(Plot, { key: name, name, bars, smallest: data.smallest, add }))),
    me.releases && settled && !error && h(Series, { key: "series", project, query: settled, excluded, setExcluded }),
    me.releases && h(Keep, { key: "keep", project, query: settled, excluded, load }),
  ];
}

export function CohortsView({ project, me }) {
  const [chosen, choose] = useState(me.projects[0]);
  const name = project || chosen;
  const answer = useAnswer(`cohorts/${encodeURIComponent(name)}/attributes`, 0);
  return h("div", null,
    !project && me.projects.length > 1 && h("label", null, "Cohort of project ",
      h("select", { value: chosen, onChange: (event) => choose(event.target.value) },
        me.projects.map((one) => h("option", { key: one, value: one }, one)))),
    h(Loaded, { answer }, (attributes) => h(Builder, { key: name, project: name, attributes, me })));
}
