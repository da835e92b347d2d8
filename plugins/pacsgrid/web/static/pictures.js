// Held images beside what anonymising would make of them. Each look is entered into the audit trail.
import { address, h, useState } from "./base.js";

function Picture({ study, number, after, profile, title }) {
  const [broken, setBroken] = useState(false);
  const path = `api/studies/${encodeURIComponent(study)}/pictures/${number}${after ? "/after" : ""}`;
  const query = after && profile ? `?profile=${encodeURIComponent(profile)}` : "";
  const name = `${after ? "After anonymising" : "Held image"} ${number + 1}`;
  return h("figure", { className: "pg-picture" },
    broken
      ? h("div", { className: "pg-nopicture" }, "no picture")
      : h("img", { src: address(path + query), alt: name, onError: () => setBroken(true) }),
    h("figcaption", null, title));
}

export function BeforeAndAfter({ study, number, profile }) {
  return h("div", { className: "pg-pair" },
    h(Picture, { key: "before", study, number, title: "as held" }),
    h(Picture, { key: `after ${profile ?? ""}`, study, number, after: true, profile,
      title: profile ? `after ${profile}` : "after anonymising" }));
}
