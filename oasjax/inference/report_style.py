"""The style sheet of the report."""

STYLE = """
:root { color-scheme: light; --ink: #1c2333; --soft: #5b6478; --line: #e3e7ef; --blue: #2457c5; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6fa; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 2rem clamp(1rem, 3vw, 2.5rem) 4rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.15; margin: 0 0 .4rem;
  letter-spacing: -.015em; }
h2 { font-size: 1.25rem; margin: 0 0 .6rem; }
.remark { color: var(--soft); font-size: .9rem; margin: .2rem 0 .8rem; }
pre { overflow-x: auto; font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; }
.command { background: #1c2333; color: #e8ecf5; border-radius: 8px; padding: .7rem 1rem;
  margin: 0; }
section, details, aside { background: #fff; border: 1px solid var(--line); border-radius: 12px;
  padding: 1.2rem clamp(.9rem, 2vw, 1.5rem); margin-top: 1.2rem; }
aside { border-left: 4px solid #f0a33c; color: #4a4130; background: #fffaf1; }
summary { cursor: pointer; font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 1rem;
  margin-top: 1.2rem; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 12px;
  padding: 1rem 1.3rem; }
.tile span { display: block; color: var(--soft); font-size: .88rem; }
.tile strong { display: block; font-size: 2.4rem; line-height: 1.2; color: var(--blue);
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
table + table { margin-top: 1rem; }
.scroll + .scroll { margin-top: 1.2rem; }
th { font-weight: 500; color: var(--soft); text-align: right; padding: .34rem .6rem; }
td { text-align: right; padding: .34rem .6rem; }
tbody th, thead th:first-child { text-align: left; }
thead th { border-bottom: 1px solid var(--line); }
tr[data-first] > * { border-top: 1px solid var(--line); }
th[scope=rowgroup] { font-weight: 600; color: var(--ink); vertical-align: top; }
.after td, .after th[scope=row] { color: var(--ink); font-weight: 600; }
td.mean { background: #f3f6fd; }
.after td.mean { color: var(--blue); }
table.data { width: auto; min-width: min(100%, 420px); }
.wide { width: 100%; height: auto; display: block; }
.people { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr));
  gap: 1.2rem; }
article { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; align-content: start; }
article .remark { grid-column: 1 / -1; margin: 0; }
figure { margin: 0; }
figure img { width: 100%; height: auto; display: block; border-radius: 6px; }
figcaption { color: var(--soft); font-size: .8rem; text-align: center; padding: .1rem 0 .2rem; }
.sign { display: inline-flex; align-items: center; gap: .45rem; margin-right: 1.3rem; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
