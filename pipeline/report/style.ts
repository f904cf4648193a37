/**
 * The look of page and statement: one typeface in four sizes, one accent hue in five steps of
 * lightness, one hue for warnings, nothing else. Bars and charts are SVG, so that they print.
 */
const sheet = `
:root {
  color-scheme: light dark;
  --bg: light-dark(#fff, #11171b);
  --ink: light-dark(#17212b, #e6ebee);
  --mute: light-dark(#586572, #9aa7b1);
  --line: light-dark(#dfe4e8, #2b343b);
  --soft: light-dark(#f3f6f7, #1a2227);
  --c1: light-dark(#0b5a73, #8fd0e2);
  --c2: light-dark(#3a89a2, #539fb6);
  --c3: light-dark(#7fb8ca, #38728a);
  --c4: light-dark(#b4d8e3, #2a5364);
  --c5: light-dark(#d9ebf1, #1f3a47);
  --t1: light-dark(#d3e8ef, #1d4151);
  --t2: light-dark(#e4e8ea, #2a333a);
  --c0: light-dark(#c3cad0, #56626b);
  --warn: light-dark(#8a4600, #f2b765);
  --warn-soft: light-dark(#fff5e6, #2b2114);
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--bg); color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; text-size-adjust: 100%;
}
main { max-width: 1080px; margin: 0 auto; padding: 28px 24px 56px; }
h1, h2, h3, p, dl, dd, ul { margin: 0; padding: 0; }
ul { list-style: none; }
h1 { font-size: 30px; line-height: 1.15; font-weight: 650; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { font-size: 18px; line-height: 1.3; font-weight: 600; letter-spacing: -.005em; }
h3 { font-size: 14px; font-weight: 600; }
small, .small { font-size: 12px; }
.mute, small { color: var(--mute); font-weight: 400; }
a { color: inherit; text-decoration-color: var(--c3); text-underline-offset: 3px; }
a:hover { color: var(--c1); text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--c2); outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: -999em; }
.skip:focus { left: 24px; top: 8px; background: var(--bg); padding: 4px 8px; z-index: 3; }
section { margin-top: 36px; }
.head { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 4px 24px; margin-bottom: 12px; }

.brand { display: flex; align-items: center; gap: 12px; min-height: 28px; margin-bottom: 20px; color: var(--mute); }
.brand img { display: block; height: 28px; max-width: 200px; object-fit: contain; object-position: left; }
.top { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: flex-end; gap: 16px 32px; }
.top > div { flex: 1 1 360px; min-width: 0; }
.top > .answer { flex: 0 1 auto; text-align: right; margin-left: auto; }
.answer > div + div { margin-top: 12px; }
.total { font-size: 30px; line-height: 1.15; font-weight: 650; letter-spacing: -.02em; white-space: nowrap; }
.total .code { font-size: 14px; font-weight: 400; letter-spacing: 0; color: var(--mute); }

.trust { margin-top: 20px; padding: 12px 16px; background: var(--soft); border-radius: 6px; }
.trust dl { display: flex; flex-wrap: wrap; gap: 6px 28px; align-items: baseline; }
.trust dl div { display: flex; gap: 6px; align-items: baseline; }
.trust dt { color: var(--mute); }
.trust dd { font-weight: 600; }
.trust dd.plain-words { font-weight: 400; color: var(--mute); }
.trust p { margin-top: 6px; }
.pill { display: inline-block; padding: 0 10px; border-radius: 99px; border: 1px solid var(--c1); color: var(--c1); font-weight: 600; font-size: 12px; line-height: 20px; background: var(--bg); }
.pill.provisional { border-style: dashed; }
.pill.warn { border-color: var(--warn); color: var(--warn); }
.problems { margin-top: 12px; padding: 12px 16px; background: var(--warn-soft); border-radius: 6px; border-left: 4px solid var(--warn); }
.problems li { margin-top: 4px; overflow-wrap: anywhere; }
.warn { color: var(--warn); }
.note { margin-top: 24px; padding: 12px 16px; background: var(--soft); border-radius: 6px; border-left: 4px solid var(--c1); }
.note h2 { font-size: 14px; }
.note table { margin-top: 8px; }
.note .list thead th { background: none; }
.note .list tbody tr:hover > * { background: none; }
.note .list tbody tr:last-child > * { border-bottom: 0; }

.orgs { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 16px 24px; margin-top: 24px; }
.orgs .name { display: flex; gap: 8px; align-items: baseline; color: var(--mute); overflow-wrap: anywhere; }
.orgs .amount { font-size: 18px; font-weight: 600; letter-spacing: -.01em; }
.swatch { flex: none; width: 10px; height: 10px; }

svg { display: block; }
.defs { position: absolute; }
.chart { display: grid; grid-template-columns: auto minmax(0, 1fr); }
.chart svg { overflow: visible; }
.chart text { fill: var(--mute); font-size: 12px; }
.chart .now { fill: var(--ink); font-weight: 600; }
.chart .alert { fill: var(--warn); font-weight: 600; }
.grid { stroke: var(--line); }
.zero { stroke: var(--mute); }
.month:hover .back { fill: var(--soft); }
.back { fill: transparent; }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); } .f3 { fill: var(--c3); } .f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
.t1 { fill: var(--t1); } .t2 { fill: var(--t2); }
.h0 { fill: url(#hatch0); } .h1 { fill: url(#hatch1); } .h2 { fill: url(#hatch2); } .h3 { fill: url(#hatch3); } .h4 { fill: url(#hatch4); } .h5 { fill: url(#hatch5); }
.paper { fill: var(--bg); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 12px; color: var(--mute); }
.legend li { display: flex; gap: 6px; align-items: center; }

.two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px 48px; align-items: start; margin-left: -8px; margin-right: -8px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; }
th { text-align: left; font-weight: 400; }
th, td { padding: 5px 0; vertical-align: baseline; overflow-wrap: break-word; }
tbody th { overflow-wrap: anywhere; }
.names thead th:first-child { width: 28%; }
td + td, th + td, th + th { padding-left: 20px; }
.n { text-align: right; white-space: nowrap; }
thead th { font-size: 12px; color: var(--mute); }
.id, .code { white-space: nowrap; overflow-wrap: normal; }
.id { color: var(--mute); font-size: 12px; }
.top .id { font-size: inherit; }
tfoot th, tfoot td, .sum { font-weight: 600; }
tfoot th, tfoot td { border-top: 1px solid var(--mute); }

.bars th, .bars td, .bars thead th { padding: 4px 8px; }
.bars th:first-child { width: 100%; position: relative; }
.bars .n { min-width: 92px; }
.bar { position: absolute; z-index: -1; left: 0; top: 1px; width: 100%; height: calc(100% - 2px); }
.bars .rest th { color: var(--mute); }
.bars thead th { font-size: 14px; font-weight: 600; color: var(--ink); }
.bars + .bars { margin-top: 10px; }
.two > .bars + .bars { margin-top: 0; }
.arrivals { margin-top: 24px; }
.bars-title { padding-left: 8px; margin-bottom: 4px; }
.broken > div { min-width: 0; }
.broken .head { margin-bottom: 4px; padding-right: 8px; }
.broken summary { padding-left: 8px; }
.more .broken { margin-top: 16px; }
.broken + p, .more + p, .parts + p { margin-top: 12px; }
.broken h3 { overflow-wrap: anywhere; }
.parts { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 12px 16px; margin-top: 28px; }
.charges { margin-top: 28px; }
.gaps-title { margin: 24px 0 4px; }
.head + .parts, .charges .parts { margin-top: 0; }
.charges h3 { margin-bottom: 6px; }
.parts dt { color: var(--mute); overflow-wrap: anywhere; }
.parts dd b { font-weight: 600; }
.invoice-notes { margin-top: 8px; overflow-wrap: anywhere; }
.trend { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 16px 40px; align-items: start; }
.trend table { width: auto; min-width: 230px; }
.trend th, .trend td { padding-top: 1px; padding-bottom: 1px; }
.list tbody th { position: relative; }

.list th, .list td { border-bottom: 1px solid var(--line); padding-top: 6px; padding-bottom: 6px; }
.list thead th { position: sticky; top: 0; background: var(--bg); z-index: 1; vertical-align: bottom; }
.list tbody tr:hover > * { background: var(--soft); }
.list .bar { left: -8px; width: calc(100% + 8px); top: 3px; height: calc(100% - 6px); }
.list .group > * { font-weight: 600; padding-top: 14px; }
.list .part th { padding-left: 16px; }
.list.dense td:not(:first-child) { white-space: nowrap; }
thead button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit; white-space: nowrap; }
thead button:hover { color: var(--c1); }
thead button::after { content: "\\2195"; display: inline-block; width: 1em; text-align: right; opacity: .55; }
[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; }
[aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
[aria-sort=ascending] button, [aria-sort=descending] button { color: var(--ink); font-weight: 600; }
.find { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin-bottom: 4px; }
.find[hidden], [hidden] { display: none; }
.find input { flex: 1 1 240px; min-width: 0; font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--mute); border-radius: 6px; padding: 7px 12px; }
.plain { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--mute); border-radius: 6px; padding: 3px 12px; cursor: pointer; }
.top .plain { padding: 0 8px; margin-left: 4px; color: var(--mute); border-color: var(--c0); }
.plain[aria-pressed=true] { background: var(--soft); }
.plain:hover { background: var(--soft); }
.more { margin-top: 12px; }

details { margin-top: 8px; }
summary { cursor: pointer; color: var(--mute); font-size: 12px; width: fit-content; }
summary:hover { color: var(--c1); }
footer { margin-top: 48px; color: var(--mute); font-size: 12px; overflow-wrap: anywhere; }
footer p { margin-top: 4px; }
footer .own { color: var(--ink); white-space: pre-line; margin-bottom: 12px; }

@media (max-width: 760px) {
  main { padding: 20px 16px 40px; }
  .two, .trend { grid-template-columns: minmax(0, 1fr); }
  .trend table { width: 100%; }
  .top > .answer { text-align: left; margin-left: 0; flex-basis: 100%; }
  .chart .dim { display: none; }
  .list:not(.dense) thead tr { display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 6px 0; border-bottom: 1px solid var(--line); }
  .list:not(.dense) thead th { position: static; padding: 0; border: 0; }
  .list:not(.dense) tbody tr, .list:not(.dense) tfoot tr { display: flex; flex-wrap: wrap; align-items: baseline; column-gap: 10px; padding: 8px 0; border-bottom: 1px solid var(--line); }
  .list:not(.dense) tbody th, .list:not(.dense) tbody td, .list:not(.dense) tfoot th, .list:not(.dense) tfoot td { padding: 0; border: 0; }
  .list:not(.dense) tbody th, .list:not(.dense) tfoot th { flex: 1 1 55%; order: 1; }
  .list:not(.dense) .this { order: 2; margin-left: auto; }
  .list:not(.dense) tr::before { content: ""; order: 3; flex: 0 0 100%; }
  .list:not(.dense) thead tr::before { display: none; }
  .list:not(.dense) td { order: 4; }
  .list:not(.dense) td:not(.this) { font-size: 12px; color: var(--mute); }
  .list:not(.dense) .change { margin-left: auto; order: 5; }
  .list .away { display: none; }
  .list.dense { font-size: 12px; }
  .dense td + td, .dense th + td, .dense th + th { padding-left: 7px; }
  .dense .pill { padding: 0 6px; font-size: 11px; }
}
@media screen { .js .later { display: none; } }
@media print {
  :root { color-scheme: light; }
  body { font-size: 11px; }
  small, .small, thead th, .id, .legend, summary, footer, .chart text, .pill { font-size: 9.5px; }
  .pill { line-height: 15px; padding: 0 7px; }
  .total .code { font-size: 11px; }
  .brand { min-height: 0; margin-bottom: 10px; }
  .orgs { grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 8px 16px; margin-top: 14px; }
  .orgs .amount { font-size: 14px; }
  .trust { margin-top: 12px; padding: 8px 12px; }
  h1, .answer > div + div { margin-top: 12px; }
.total { font-size: 24px; }
  h2 { font-size: 14px; break-after: avoid; }
  h3 { font-size: 11px; break-after: avoid; }
  main { padding: 0; max-width: none; }
  section { margin-top: 22px; }
  .trust, .problems, .note, .orgs > *, .chart, tr, .keep { break-inside: avoid; }
  .head, summary, thead { break-after: avoid; }
  .two { gap: 16px 28px; margin-left: 0; margin-right: 0; break-inside: avoid; }
  .two > div, .two > table { break-inside: avoid; }
  .two.broken { break-inside: auto; }
  tfoot { display: table-row-group; }
  .list .bar { left: 0; width: 100%; }
  .find, .plain, .skip, .screen { display: none; }
  a { text-decoration: none; }
  th, td, .list th, .list td { padding-top: 2.5px; padding-bottom: 2.5px; }
  .bars th, .bars td, .bars thead th { padding: 2px 4px; }
  .bars thead th { font-size: 11px; }
  .bars-title { padding-left: 4px; }
  .bars { font-size: 10px; }
  .bars .id { font-size: 9px; }
  .bars .n { min-width: 54px; }
  td + td, th + td, th + th { padding-left: 12px; }
  .list .group > * { padding-top: 7px; }
  .list thead th { position: static; }
  .list tbody tr:hover > * { background: none; }
  .trust, .problems, .note { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details::details-content { content-visibility: visible; block-size: auto; display: block; }
  summary { list-style: none; }
  thead button { display: contents; }
  thead button::after { content: none; }
}
`;

/** The style sheet as it stands in each file: without the line breaks that only its readers here need. */
export const style = sheet.replace(/\s*\n\s*/g, '');

/**
 * The page that is printed: A4, the heading on top of each sheet, page numbers at its foot.
 * @param heading what to write at the left and at the right; texts of others, so every character
 *   that CSS could read as its own is written as an escape.
 */
export function pageStyle(heading: { left: string; right: string }): string {
  const font = 'font: 9px system-ui, sans-serif; color: #586572;';
  return (
    `@page{size:A4;margin:18mm 14mm 16mm;` +
    `@top-left{content:${cssText(heading.left, 90)};width:66%;text-align:left;${font}}` +
    `@top-right{content:${cssText(heading.right, 60)};text-align:right;${font}}` +
    `@bottom-right{content:"Page " counter(page) " of " counter(pages);${font}}}`
  );
}

/** A text as a string of CSS: all but plain letters, digits and spaces as escapes; cut with an ellipsis. */
function cssText(text: string, most: number): string {
  const characters = Array.from(text);
  const kept = characters.length > most ? [...characters.slice(0, most - 1), '…'] : characters;
  const escaped = kept.map((character) =>
    /[A-Za-z0-9 ]/.test(character)
      ? character
      : `\\${(character.codePointAt(0) || 0xfffd).toString(16)} `,
  );
  return `"${escaped.join('')}"`;
}
