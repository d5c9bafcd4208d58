"""How the page looks; light or dark as the reader's system."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #5b6570; --paper: #f6f7f9;
  --card: #fff; --line: #dde1e6; --ok: #1a7f4b; --fails: #c0262d; --warning: #96650a;
  --bar: #9db8d9; --changed: #fde7e7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --quiet: #9aa4b0; --paper: #14171b;
  --card: #1d2127; --line: #333a43; --ok: #4cc38a; --fails: #ff7b72; --warning: #e0b04b;
  --bar: #3d5a80; --changed: #4a2326; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1000px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 32px 0 8px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; }
h4 { font-size: 13px; margin: 0 0 4px; }
p { margin: 0 0 8px; }
.quiet { color: var(--quiet); font-size: 13px; font-weight: normal; }
.verdict { display: inline-block; padding: 4px 14px; border-radius: 6px; color: var(--card);
  font-weight: 600; background: var(--ok); }
.verdict.s1 { background: var(--fails); }
.verdict.s2 { background: var(--warning); }
.checks, section > svg, article { background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; width: 100%; }
.checks { border-spacing: 0; }
.checks td, .checks th { padding: 8px 12px; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
.checks tr + tr > * { border-top: 1px solid var(--line); }
.checks th { white-space: nowrap; }
.ok .mark { color: var(--ok); } .fails .mark { color: var(--fails); }
.warning .mark, .unknown .mark { color: var(--warning); }
.mark { font-weight: bold; }
article { display: flex; gap: 16px; padding: 14px; margin: 0 0 12px; }
article.fails { border-color: var(--fails); }
.thumbnail { width: 112px; height: 112px; flex: none; object-fit: cover; border-radius: 6px;
  background: var(--line); }
.none { display: flex; align-items: center; justify-content: center; color: var(--quiet);
  font-size: 12px; }
.told { flex: 1; min-width: 0; }
.badge { font-size: 12px; font-weight: 600; color: var(--ok); margin-left: 6px; }
.fails .badge, article ul { color: var(--fails); }
.answers { display: flex; flex-wrap: wrap; gap: 20px; }
.answers > div { flex: 1 1 240px; min-width: 0; }
.status { font-size: 13px; margin: 0 0 4px; overflow-wrap: anywhere; }
.classes { width: 100%; border-spacing: 0; font-size: 13px; table-layout: fixed; }
.classes td { padding: 1px 6px 1px 0; overflow-wrap: anywhere; }
.classes td:nth-child(2) { width: 112px; } .classes td:nth-child(3) { width: 25%; }
.changed td { background: var(--changed); }
.number { font-variant-numeric: tabular-nums; }
.bar { height: 9px; border-radius: 2px; background: var(--bar); min-width: 1px; }
ol { margin: 0; padding-left: 20px; } ol li { margin-bottom: 6px; }
pre { margin: 0; padding: 8px; max-height: 200px; overflow: auto; font-size: 12px;
  background: var(--paper); border-radius: 6px; }
article ul { margin: 8px 0 0; padding-left: 18px; font-size: 13px; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .name { text-anchor: end; } svg .axis { text-anchor: middle; fill: var(--quiet); }
svg .grid { stroke: var(--line); }
"""
