// Draws a CPU profile of Node (`--cpu-prof`) as a flame graph that any browser shows.
//
//   node scripts/flame.ts <profile.cpuprofile> <title> [milliseconds of the start to leave out] > flame.svg
import { readFileSync } from 'node:fs';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  /** µs before each sample. */
  readonly timeDeltas: readonly number[];
}

interface Frame {
  readonly name: string;
  readonly ours: boolean;
  total: number;
  readonly children: Map<string, Frame>;
}

const width = 1200;
const rowHeight = 17;
const charWidth = 6.6;
/** Narrower frames are left out; the picture stays small. */
const narrowest = 2.5;

const [file, title = 'CPU', skipMs = '0'] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write('Usage: node scripts/flame.ts <profile.cpuprofile> <title> [skip ms]\n');
  process.exit(2);
}
const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile;
const byId = new Map(profile.nodes.map((node) => [node.id, node]));
const self = new Map<number, number>();
let elapsedUs = 0;
for (const [index, id] of profile.samples.entries()) {
  elapsedUs += profile.timeDeltas[index] ?? 0;
  if (elapsedUs < Number(skipMs) * 1000) continue;
  self.set(id, (self.get(id) ?? 0) + (profile.timeDeltas[index] ?? 0));
}

const idle: ReadonlySet<string> = new Set(['(idle)', '(root)']);

function describe({ callFrame }: ProfileNode): { name: string; ours: boolean } {
  const { functionName, url, lineNumber } = callFrame;
  const place = url.replace(/^file:\/\/.*?\/(src|node_modules|test|bench)\//, '$1/').replace(/^node:/, '');
  const name = functionName === '' ? '(anonymous)' : functionName;
  return { name: place === '' ? name : `${name} ${place}:${lineNumber + 1}`, ours: place.startsWith('src/') };
}

/** Merges a node of the profile, and what it called, into `into`. */
function merge(node: ProfileNode, into: Frame): number {
  if (idle.has(node.callFrame.functionName)) {
    for (const id of node.children ?? []) into.total += child(id, into);
    return 0;
  }
  const { name, ours } = describe(node);
  const frame = into.children.get(name) ?? { name, ours, total: 0, children: new Map<string, Frame>() };
  into.children.set(name, frame);
  let time = self.get(node.id) ?? 0;
  for (const id of node.children ?? []) time += child(id, frame);
  frame.total += time;
  return time;
}

function child(id: number, into: Frame): number {
  const node = byId.get(id);
  return node ? merge(node, into) : 0;
}

const root: Frame = { name: title, ours: false, total: 0, children: new Map() };
const [first] = profile.nodes;
if (first) merge(first, root);

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const shapes: string[] = [];
let deepest = 0;

function draw(frame: Frame, x: number, depth: number): void {
  const w = (frame.total / root.total) * width;
  if (w < narrowest) return;
  deepest = Math.max(deepest, depth);
  const share = ((frame.total / root.total) * 100).toFixed(1);
  const fill = frame.ours ? '#e5743b' : frame.name.startsWith('(') ? '#9aa5b1' : '#f0c36d';
  const room = Math.floor((w - 4) / charWidth);
  const label = room < 3 ? '' : frame.name.slice(0, room);
  shapes.push(
    `<g><title>${escape(frame.name)} ${share} %</title>` +
      `<rect x="${x.toFixed(1)}" y="${depth * rowHeight}" width="${(w - 0.4).toFixed(1)}" height="16" fill="${fill}"/>` +
      (label === '' ? '' : `<text x="${(x + 2).toFixed(1)}" y="${depth * rowHeight + 12}">${escape(label)}</text>`) +
      '</g>',
  );
  let at = x;
  for (const next of [...frame.children.values()].sort((a, b) => b.total - a.total)) {
    draw(next, at, depth + 1);
    at += (next.total / root.total) * width;
  }
}

draw(root, 0, 0);
const height = (deepest + 1) * rowHeight;
process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="monospace" font-size="11">\n` +
    `<rect width="${width}" height="${height}" fill="#fff"/>\n${shapes.join('\n')}\n</svg>\n`,
);
