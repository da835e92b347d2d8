// A held file: its frames before and after anonymising, window, zoom, text boxes, header, and regions to blank.
import { h, useEffect, useState } from "./base.js";
import { fileAddress } from "./review.js";

const STEP = 1.25;

async function shown(url) {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || "no picture");
  return {
    src: URL.createObjectURL(await answer.blob()),
    low: Number(answer.headers.get("X-Lowest")),
    high: Number(answer.headers.get("X-Highest")),
  };
}

// One frame; the last one stays until the next is there.
function useFrame(url) {
  const [state, setState] = useState({});
  useEffect(() => {
    let left = false;
    shown(url).then(
      (frame) => left || setState((was) => { if (was.src) URL.revokeObjectURL(was.src); return frame; }),
      (error) => left || setState({ error: error.message }),
    );
    return () => {
      left = true;
    };
  }, [url]);
  return state;
}

const applies = (region, frame) => region.frame === null || region.frame === frame;

function Rectangles({ boxes, className }) {
  return boxes.map((box, n) =>
    h("rect", { key: `${className}${n}`, className, x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top }));
}

// A picture under an SVG of its size in pixels, on which rectangles are drawn.
function Picture({ title, frame, traits, zoom, children, onDraw, name }) {
  const [start, setStart] = useState(null);
  const [end, setEnd] = useState(null);
  const place = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const within = (value, size) => Math.round(Math.min(size, Math.max(0, value)));
    return [
      within(((event.clientX - box.left) / box.width) * traits.columns, traits.columns),
      within(((event.clientY - box.top) / box.height) * traits.rows, traits.rows),
    ];
  };
  const drawn = start && end && {
    left: Math.min(start[0], end[0]), right: Math.max(start[0], end[0]),
    top: Math.min(start[1], end[1]), bottom: Math.max(start[1], end[1]),
  };
  const finish = () => {
    if (drawn && drawn.right > drawn.left && drawn.bottom > drawn.top) onDraw(drawn);
    setStart(null);
    setEnd(null);
  };
  const width = Math.min(640, Math.max(240, traits.columns || 320)) * zoom;
  return h("figure", { className: "pg-frame" },
    h("div", { className: "pg-scroll" },
      frame.error
        ? h("div", { className: "pg-nopicture", role: "alert" }, frame.error)
        : h("div", { className: "pg-stack", style: { width } },
            frame.src && h("img", { src: frame.src, alt: title, draggable: false }),
            traits.rows > 0 && h("svg", {
              viewBox: `0 0 ${traits.columns} ${traits.rows}`, preserveAspectRatio: "none", "data-draw": name,
              className: onDraw ? "pg-drawing" : undefined,
              onPointerDown: onDraw && ((event) => { event.currentTarget.setPointerCapture(event.pointerId); setStart(place(event)); setEnd(null); }),
              onPointerMove: onDraw && start && ((event) => setEnd(place(event))),
              onPointerUp: onDraw && finish,
            }, children, drawn && h(Rectangles, { boxes: [drawn], className: "pg-new" })))),
    h("figcaption", null, title));
}

export function Viewer({ file, traits, regions, draw, mayDraw }) {
  const [number, setNumber] = useState(0);
  const [zoom, setZoom] = useState(1);
  const [window, setWindow] = useState(null);
  const [everyFrame, setEveryFrame] = useState(true);
  const [boxes, setBoxes] = useState(null);
  const [header, setHeader] = useState(null);
  const frames = Math.max(1, file.frames);
  const query = window ? `low=${window.low}&high=${window.high}` : "";
  const before = useFrame(fileAddress(file, `/frames/${number}?${query}`));
  const after = useFrame(fileAddress(file, `/frames/${number}?after=true&${query}`));
  const move = (by) => {
    setNumber((now) => Math.min(frames - 1, Math.max(0, now + by)));
    setBoxes(null);
  };
  const ask = async (rest, keep) => {
    const answer = await fetch(fileAddress(file, rest), { credentials: "same-origin" });
    const body = await answer.json();
    keep(answer.ok ? body : [`! ${body.detail}`]);
  };
  useEffect(() => {
    const pressed = (event) => {
      if (event.target.closest?.("input, textarea, select")) return;
      if (event.key === "ArrowRight") move(1);
      if (event.key === "ArrowLeft") move(-1);
      if (event.key === "+") setZoom((now) => now * STEP);
      if (event.key === "-") setZoom((now) => now / STEP);
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [frames]);
  const here = regions.filter((region) => applies(region, number));
  const found = (boxes ?? []).filter(Array.isArray).map(([left, top, right, bottom]) => ({ left, top, right, bottom }));
  const limits = before.high > before.low ? before : { low: 0, high: 255 };
  const slide = (which, title) =>
    h("label", null, `${title} `, h("input", {
      type: "range", min: limits.low, max: limits.high, step: "any", value: (window ?? limits)[which],
      onChange: (event) => setWindow({ ...(window ?? { low: limits.low, high: limits.high }), [which]: Number(event.target.value) }),
    }));
  return h("div", { className: "pg-viewer" },
    h("div", { className: "pg-tools" },
      frames > 1 && h("label", null, `Frame ${number + 1} of ${frames} `,
        h("input", { type: "range", min: 0, max: frames - 1, value: number,
          onChange: (event) => { setNumber(Number(event.target.value)); setBoxes(null); } })),
      slide("low", "Black"), slide("high", "White"),
      window && h("button", { type: "button", onClick: () => setWindow(null) }, "Own window"),
      h("button", { type: "button", "aria-label": "Smaller", onClick: () => setZoom(zoom / STEP) }, "−"),
      h("button", { type: "button", "aria-label": "Larger", onClick: () => setZoom(zoom * STEP) }, "+"),
      h("button", { type: "button", onClick: () => (boxes ? setBoxes(null) : ask(`/frames/${number}/text`, setBoxes)) },
        boxes ? "Hide text boxes" : "Show text boxes"),
      h("button", { type: "button", onClick: () => (header ? setHeader(null) : ask("/header", setHeader)) },
        header ? "Hide header" : "Show header")),
    mayDraw && h("div", { className: "pg-tools" },
      h("span", null, "Draw over what must go."),
      frames > 1 && h("label", null, h("input", { type: "checkbox", checked: everyFrame, onChange: (event) => setEveryFrame(event.target.checked) }), " in every frame"),
      found.length > 0 && h("button", { type: "button",
        onClick: () => draw([...regions, ...found.map((box) => ({ ...box, frame: everyFrame ? null : number }))]) }, "Blank the text boxes"),
      regions.length > 0 && h("button", { type: "button", onClick: () => draw(regions.slice(0, -1)) }, "Undo last region"),
      regions.length > 0 && h("button", { type: "button", onClick: () => draw([]) }, "Clear regions")),
    h("div", { className: "pg-side" },
      h(Picture, { key: "before", name: "before", title: "As held", frame: before, traits, zoom,
        onDraw: mayDraw ? (box) => draw([...regions, { ...box, frame: everyFrame ? null : number }]) : undefined },
        h(Rectangles, { boxes: here, className: "pg-region" }), h(Rectangles, { boxes: found, className: "pg-text" })),
      h(Picture, { key: "after", name: "after", title: "After anonymising", frame: after, traits, zoom },
        h(Rectangles, { boxes: here, className: "pg-blank" }))),
    header && h("div", { className: "pg-header" },
      h("p", { className: "pg-quiet" }, "− removed, + added, ~ changed, others kept. Values are shown when asked for, which is entered into the audit trail. ",
        h("button", { type: "button", onClick: () => ask("/header?values=true", setHeader) }, "Show values")),
      h("pre", null, header.join("\n"))));
}
