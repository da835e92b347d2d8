// Review: what is held in groups of what is alike, and the decisions about one, some or all of a group.
import { address, age, ask, clock, h, here, inProject, Loaded, plural, send, StudyLink, Table, useAnswer, useEffect, useState } from "./base.js";
import { Viewer } from "./viewer.js";

const VERDICTS = { approve: "Approve", blank: "Blank", reject: "Reject", again: "Try again" };
const REASONS = ["no one can be identified", "burned-in text is gone", "not part of the trial", "a form or a letter"];

export function fileAddress(file, rest = "") {
  return address(`api/review/files/${encodeURIComponent(file.ref)}/${encodeURIComponent(file.sha256)}${rest}`);
}

export function kindOf({ traits }) {
  const device = [traits.manufacturer, traits.model].filter(Boolean).join(" ");
  const size = traits.rows ? `${traits.columns} × ${traits.rows}` : "";
  return { device: device || "unknown device", size, what: traits.description };
}

function Thumbnail({ file, after }) {
  const [broken, setBroken] = useState("");
  const title = after ? "after" : "held";
  return h("figure", { className: "pg-picture" },
    broken
      ? h("div", { className: "pg-nopicture" }, "no picture")
      : h("img", { loading: "lazy", alt: after ? "After anonymising" : "As held", onError: () => setBroken("x"),
          src: fileAddress(file, `/thumbnail${after ? "?after=true" : ""}`) }),
    h("figcaption", null, title));
}

function Thumbnails({ file }) {
  return h("div", { className: "pg-pair" },
    h(Thumbnail, { key: "held", file }), h(Thumbnail, { key: "after", file, after: true }));
}

// Start the run that carries decisions out, in the user's own name, as anywhere else in Airflow.
function carryOut(project) {
  const runs = new URL("../api/v2/dags/review_held/dagRuns", address(""));
  return send(runs, { logical_date: null, conf: { project, decided: true } });
}

function Decided({ decided }) {
  const [told, tell] = useState({});
  const projects = Object.keys(decided);
  const start = async () => {
    tell({ wait: true });
    try {
      const runs = [];
      for (const project of projects) runs.push((await carryOut(project)).dag_run_id);
      tell({ runs });
    } catch (error) {
      tell({ error: error.message });
    }
  };
  const count = projects.reduce((sum, project) => sum + decided[project], 0);
  return [
    told.error && h("p", { key: "error", className: "pg-error", role: "alert" }, told.error),
    told.runs && h("p", { key: "runs", className: "pg-done", role: "status" }, "Being carried out: ",
      told.runs.map((run) => h("a", { key: run,
        href: new URL(`../dags/review_held/runs/${encodeURIComponent(run)}`, address("")).href }, run))),
    count > 0 && !told.runs && h("p", { key: "decided", className: "pg-warning" },
      `${plural(count, "decision")} wait to be carried out: the files go through anonymiser and checker again. `,
      h("button", { type: "button", disabled: Boolean(told.wait), onClick: start }, "Carry out now")),
  ];
}

function Filters({ filter, change }) {
  const field = (name, title) =>
    h("label", { key: name }, `${title} `,
      h("input", { name, value: filter[name], onChange: (event) => change({ ...filter, [name]: event.target.value }) }));
  return h("div", { className: "pg-filters" },
    field("code", "Reason"), field("modality", "Modality"), field("words", "Device or description"));
}

function GroupRow({ group, shown }) {
  const { device, size, what } = kindOf(group);
  return h("tr", { "data-group": group.id },
    h("td", { className: "pg-number" }, h("a", { href: here(`review/${group.id}`) }, group.count.toLocaleString())),
    h("td", null, group.whole ? plural(group.count, "study", "studies").replace(/^\S+ /, "") : group.count === 1 ? "file" : "files"),
    h("td", null, h("code", null, group.code)),
    h("td", null, device),
    h("td", null, group.traits.modality),
    h("td", null, what),
    h("td", null, size),
    h("td", { title: group.oldest ? clock(group.oldest) : "" }, group.oldest ? age(group.oldest) : ""),
    h("td", null, group.project),
    shown && h("td", { className: "pg-small" }, group.sha256 && h(Thumbnails, { file: group })));
}

export function ReviewView({ project, me, detail, file }) {
  if (!me.reviews) {
    return h("p", null, "What is held is reviewed by those who may trigger the DAG review_held.");
  }
  if (detail === "rules") return h(RulesView, { project });
  if (detail) return h(GroupView, { key: detail, group: detail, chosen: file });
  return h(GroupsView, { project });
}

function GroupsView({ project }) {
  const [filter, change] = useState({ code: "", modality: "", words: "" });
  const [places, setPlaces] = useState([]);
  const [shown, show] = useState(false);
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
  const place = places.at(-1);
  if (place) {
    query.set("after", place.count);
    query.set("id", place.id);
  }
  const answer = useAnswer(inProject(`review/groups?${query}`, project));
  return h("section", null,
    h(Unanswered, { project }),
    h(Filters, { filter, change: (next) => { setPlaces([]); change(next); } }),
    h(Loaded, { answer }, ({ groups, more, held, decided }) => [
      h("h2", { key: "title" }, `Held: ${plural(held.studies, "study", "studies")}, ${plural(held.files, "file")}`),
      h(Decided, { key: "decided", decided }),
      h("p", { key: "note", className: "pg-quiet" },
        "Open a group to look at its files and to decide. Each look at a picture is entered into the audit trail. ",
        h("a", { href: here("review/rules") }, "Rules"), "."),
      groups.length > 0 && h("button", { key: "show", type: "button", onClick: () => show(!shown) },
        shown ? "Hide thumbnails" : "Show thumbnails"),
      h(Table, {
        key: "groups",
        head: ["Count", "What", "Reason", "Device", "Modality", "Series", "Size", "Oldest", "Project", ...(shown ? ["Before, after"] : [])],
        empty: "Nothing waits for a steward.",
        rows: groups.map((group) => h(GroupRow, { key: group.id, group, shown })),
      }),
      h("p", { key: "pages" },
        places.length > 0 && h("button", { type: "button", onClick: () => setPlaces(places.slice(0, -1)) }, "Previous groups"),
        " ",
        more && h("button", { type: "button", onClick: () => setPlaces([...places, groups.at(-1)]) }, "Next groups")),
    ]));
}

function useGroup(group, places) {
  const place = places.at(-1);
  const query = place ? `?${new URLSearchParams({ since: place.since, ref: place.ref, sha256: place.sha256 })}` : "";
  const [state, setState] = useState({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let left = false;
    ask(`review/groups/${encodeURIComponent(group)}${query}`).then(
      (data) => left || setState({ data }),
      (error) => left || setState({ error: error.message }),
    );
    return () => {
      left = true;
    };
  }, [group, query, turn]);
  return [state, () => setTurn(turn + 1)];
}

// What was drawn last, to be drawn again in another group of images of the same size.
let drawnLast = { regions: [], rows: 0, columns: 0 };

function Alike({ answer }) {
  if (!answer?.alike?.length) return null;
  return h("div", { className: "pg-warning" },
    "Of this device, kind and size there also wait: ",
    answer.alike.map((group) =>
      h("a", { key: group.id, className: "pg-alike", href: here(`review/${group.id}`) },
        `${plural(group.count, "file")} for ${group.code}${group.traits.description ? `, ${group.traits.description}` : ""}`)));
}

function GroupView({ group, chosen: wanted }) {
  const [places, setPlaces] = useState([]);
  const [decided, setDecided] = useState(null);
  const [answer, reload] = useGroup(group, places);
  return h(Loaded, { answer }, (data) =>
    data.group.count === 0 && data.files.length === 0
      ? h(Done, { group: data.group, decided })
      : h(Deciding, { data, wanted, reload, places, setPlaces, decided, setDecided }));
}

function Done({ group, decided }) {
  return h("section", null,
    h("p", { className: "pg-done", role: "status" }, "Nothing of this group waits any more."),
    h(Alike, { answer: decided }),
    h(NowCarriedOut, { project: group.project }),
    h("p", null, h("a", { href: here("review") }, "All groups")));
}

function NowCarriedOut({ project }) {
  const answer = useAnswer(inProject("review/groups", project), 0);
  return h(Loaded, { answer }, ({ decided }) => h(Decided, { decided }));
}

// The keys that a steward decides with; not while something is written.
function useKeys(keys) {
  useEffect(() => {
    const pressed = (event) => {
      if (event.target.closest?.("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = keys[event.key];
      if (act) {
        event.preventDefault();
        act();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  });
}

function Deciding({ data, wanted, reload, places, setPlaces, decided, setDecided }) {
  const { group, files, more, now } = data;
  const [at, setAt] = useState(Math.max(0, files.findIndex((file) => file.sha256 && file.sha256 === wanted)));
  const [chosen, choose] = useState(new Set());
  const [regions, draw] = useState([]);
  const [form, change] = useState({ reason: "", profile: "", always: false, any: false, series: false });
  const [told, tell] = useState({});
  const file = files[Math.min(at, files.length - 1)];
  const named = [...chosen].map((n) => files[n]).filter(Boolean);
  const step = (by) => setAt((now) => Math.min(files.length - 1, Math.max(0, now + by)));
  const toggle = (n) => {
    const next = new Set(chosen);
    if (!next.delete(n)) next.add(n);
    choose(next);
  };
  const decide = async (verdict) => {
    tell({ wait: true });
    try {
      const body = {
        project: group.project, verdict, reason: form.reason, group: group.id, until: now,
        files: named.map(({ ref, sha256 }) => ({ ref, sha256 })), series: form.series,
        regions: verdict === "blank" ? regions : [], profile: verdict === "again" ? form.profile : "",
        always: form.always && verdict !== "again", any_description: form.any,
      };
      const answer = await send(address("api/review/decisions"), body);
      tell({ answer, verdict });
      setDecided(answer);
      if (regions.length) drawnLast = { regions, rows: group.traits.rows, columns: group.traits.columns };
      choose(new Set());
      draw([]);
      setPlaces([]);
      setAt(0);
      reload();
    } catch (error) {
      tell({ error: error.message });
    }
  };
  useKeys({
    j: () => step(1), k: () => step(-1), x: () => toggle(at),
    a: () => group.may_approve && decide("approve"), r: () => decide("reject"),
    b: () => group.may_blank && regions.length && decide("blank"),
  });
  const { device, size, what } = kindOf(group);
  const number = named.length || group.count;
  const all = named.length ? plural(number, "chosen", "chosen") : `all ${number.toLocaleString()}`;
  return h("section", null,
    h("p", null, h("a", { href: here("review") }, "All groups")),
    h("h2", null, `${plural(group.count, group.whole ? "study" : "file", group.whole ? "studies" : "files")} held: `, h("code", null, group.code)),
    h("p", null, [device, group.traits.modality, what, size].filter(Boolean).join(", "), `; project ${group.project}`),
    file && h("p", { className: "pg-warning" }, file.detail),
    told.error && h("p", { className: "pg-error", role: "alert" }, told.error),
    told.answer && h("p", { className: "pg-done", role: "status" },
      `${VERDICTS[told.verdict]}: ${plural(told.answer.files, "file")}. `,
      told.answer.waits_for_second ? "A second steward must agree." : "To be carried out."),
    h(Alike, { answer: decided }),
    group.may_blank && !regions.length && drawnLast.regions.length > 0 &&
      drawnLast.rows === group.traits.rows && drawnLast.columns === group.traits.columns &&
      h("button", { type: "button", onClick: () => draw(drawnLast.regions) }, "Use the regions drawn last"),
    h(DecisionForm, { group, form, change, regions, all, decide, busy: Boolean(told.wait) }),
    file && file.sha256 && h(Viewer, { key: file.sha256, file, traits: group.traits, regions, draw, mayDraw: group.may_blank }),
    h("p", { className: "pg-quiet" },
      "Keys: j and k next and previous file, x choose it, a approve, b blank, r reject, ← and → frames, + and − zoom."),
    h(Table, {
      head: ["", "Study", "Source", "Frames", "What is wrong", "Since"],
      empty: "Nothing of this group waits on this page.",
      rows: files.map((row, n) =>
        h("tr", { key: `${row.ref}${row.sha256}`, className: n === at ? "pg-now" : undefined, onClick: () => setAt(n) },
          h("td", null, h("input", { type: "checkbox", "aria-label": `Choose file ${n + 1}`, checked: chosen.has(n),
            onClick: (event) => event.stopPropagation(), onChange: () => toggle(n) })),
          h("td", null, h(StudyLink, { study: row.ref })),
          h("td", null, row.source),
          h("td", { className: "pg-number" }, row.frames || ""),
          h("td", { className: "pg-wide" }, row.detail),
          h("td", { title: clock(row.since) }, age(row.since)))),
    }),
    h("p", null,
      places.length > 0 && h("button", { type: "button", onClick: () => setPlaces(places.slice(0, -1)) }, "Previous files"),
      " ",
      more && h("button", { type: "button", onClick: () => setPlaces([...places, files.at(-1)]) }, "Next files")));
}

function DecisionForm({ group, form, change, regions, all, decide, busy }) {
  const profiles = useAnswer("form", 0).data?.projects[group.project] ?? [];
  const set = (name) => (event) =>
    change({ ...form, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const tick = (name, title) =>
    h("label", null, h("input", { type: "checkbox", checked: form[name], onChange: set(name) }), ` ${title}`);
  const button = (verdict, title, off) =>
    h("button", { key: verdict, type: "button", disabled: busy || off, onClick: () => decide(verdict) }, title);
  return h("div", { className: "pg-decide" },
    h("label", { className: "pg-field" }, h("span", null, "Why; naming no one"),
      h("input", { name: "reason", list: "pg-reasons", value: form.reason, maxLength: 500, autoComplete: "off", onChange: set("reason") })),
    h("datalist", { id: "pg-reasons" }, REASONS.map((one) => h("option", { key: one, value: one }))),
    h("div", { className: "pg-quick" }, REASONS.map((one) =>
      h("button", { key: one, type: "button", "aria-pressed": form.reason === one, onClick: () => change({ ...form, reason: one }) }, one))),
    !group.whole && h("div", null,
      tick("always", "Always so: later files like these, too"),
      form.always && tick("any", "whatever their series description"),
      tick("series", "and the rest of the series")),
    h("div", { className: "pg-verdicts" },
      group.may_approve && button("approve", `Approve ${all}`),
      group.may_blank && button("blank", `Blank ${plural(regions.length, "region")} of ${all}`, !regions.length),
      button("reject", `Reject ${all}`),
      button("again", `Try ${all} again`),
      h("label", null, "with profile ",
        h("select", { value: form.profile, onChange: set("profile") },
          h("option", { value: "" }, "the project's own"),
          profiles.map((name) => h("option", { key: name, value: name }, name))))),
    !group.whole && !group.may_approve && h("p", { className: "pg-quiet" },
      group.may_blank
        ? "The checker read this in the picture, so it cannot be approved: draw over it, then the checker reads again."
        : "This cannot be approved: what the checker refuses, and what cannot be read or seen here, has to change first."));
}

function Unanswered({ project }) {
  const answer = useAnswer(inProject("review/decisions/unanswered", project));
  const [told, tell] = useState("");
  const rows = answer.data ?? [];
  const reply = (number, word) => async () => {
    try {
      await send(address(`api/review/decisions/${number}/${word}`), {});
      tell(`Decision ${number}: ${word === "agree" ? "agreed" : "sent back to the queue"}.`);
    } catch (error) {
      tell(error.message);
    }
  };
  if (!rows.length && !told) return null;
  return h("section", null,
    h("h2", null, "For a second steward"),
    told && h("p", { className: "pg-done", role: "status" }, told),
    h(Table, {
      head: ["Decision", "Verdict", "Files", "Reason held", "Why", "By", "Since", ""],
      empty: "Nothing waits for a second steward.",
      rows: rows.map(({ decision, files }) =>
        h("tr", { key: decision.number },
          h("td", null, decision.number),
          h("td", null, `${VERDICTS[decision.verdict]}${decision.always ? ", always so" : ""}`),
          h("td", { className: "pg-number" }, files),
          h("td", null, h("code", null, decision.codes.join(", "))),
          h("td", { className: "pg-wide" }, decision.reason),
          h("td", null, decision.who),
          h("td", { title: clock(decision.at) }, age(decision.at)),
          h("td", null,
            h("button", { type: "button", onClick: reply(decision.number, "agree") }, "Agree"), " ",
            h("button", { type: "button", onClick: reply(decision.number, "disagree") }, "Disagree")))),
    }));
}

function RulesView({ project }) {
  const answer = useAnswer(inProject("review/rules", project));
  const [told, tell] = useState("");
  const end = (number) => async () => {
    const reason = prompt("Why is this rule revoked? Name no one.");
    if (!reason) return;
    try {
      await send(address(`api/review/rules/${number}/end`), { reason });
      tell(`Rule ${number} is revoked: later files like these are held again.`);
    } catch (error) {
      tell(error.message);
    }
  };
  const state = (one) =>
    one.ended_at ? `revoked by ${one.ended_by}` : one.needs_second && !one.agrees ? "waits for a second steward" : "in force";
  return h("section", null,
    h("p", null, h("a", { href: here("review") }, "All groups")),
    h("h2", null, "Rules"),
    told && h("p", { className: "pg-done", role: "status" }, told),
    h(Loaded, { answer }, (rows) =>
      h(Table, {
        head: ["Rule", "Verdict", "Held for", "Device", "Modality", "Series", "Size", "Files", "Last", "Made by", "State", ""],
        empty: "No rule is made yet: open a group and tick “Always so”.",
        rows: rows.map(({ decision, files, last }) => {
          const { device, size, what } = kindOf(decision);
          return h("tr", { key: decision.number, "data-rule": decision.number },
            h("td", null, decision.number),
            h("td", null, VERDICTS[decision.verdict]),
            h("td", null, h("code", null, decision.codes.join(", "))),
            h("td", null, device),
            h("td", null, decision.traits.modality),
            h("td", null, what || "any"),
            h("td", null, size || "any"),
            h("td", { className: "pg-number" }, files.toLocaleString()),
            h("td", null, last ? age(last) : "never"),
            h("td", { title: decision.reason }, decision.who),
            h("td", null, state(decision)),
            h("td", null, !decision.ended_at && h("button", { type: "button", onClick: end(decision.number) }, "Revoke")));
        }),
      })));
}
