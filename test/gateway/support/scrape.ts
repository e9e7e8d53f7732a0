import type { Node } from './mesh.ts';

/** What a gateway's metrics port shows now. The node must have been started with `metrics: true`. */
async function scrape(node: Node): Promise<string> {
  return (await fetch(`http://127.0.0.1:${node.gateway.metricsPort}/metrics`)).text();
}

/** The value of the first line of `text` that begins with `name` and has all of `labels`. */
export function valueOf(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const line = text
    .split('\n')
    .find((each) => new RegExp(`^${name}[{ ]`).test(each) && wanted.every((label) => each.includes(label)));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ')));
}

/** What was turned away so far under `reason`. */
export async function refused(node: Node, reason: string): Promise<number> {
  return valueOf(await scrape(node), 'isthmus_refusals_total', { reason }) ?? 0;
}

/** A limit and how much of it is used, as the metrics show them. */
export async function limitOf(
  node: Node,
  limit: string,
): Promise<{ used: number | undefined; of: number | undefined }> {
  const text = await scrape(node);
  return { used: valueOf(text, 'isthmus_limit_used', { limit }), of: valueOf(text, 'isthmus_limit', { limit }) };
}
