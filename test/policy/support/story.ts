import type { ClusterName } from '../../../src/model/names.ts';
import type { ServiceRoute } from '../../../src/model/route.ts';
import type { SharesState, TargetFacts } from '../../../src/model/shares.ts';
import { stepAt } from '../../../src/policy/shares.ts';

/** Something that happens at a moment, in the words of the story. */
export interface Happening {
  /** Seconds from the start. */
  readonly at: number;
  readonly what: string;
  /** Facts that are so from then on. */
  readonly facts?: ReadonlyMap<ClusterName, Partial<TargetFacts>>;
  /** The plan that holds from then on. */
  readonly route?: ServiceRoute;
}

export interface StoryOptions {
  readonly route: ServiceRoute;
  readonly happenings: readonly Happening[];
  /** The table has a line for each such second, besides those in which something happens. */
  readonly everySeconds: number;
  readonly untilSeconds: number;
}

/** Gateways look at shares this often. */
const tickMs = 250;

/** Plays a story and writes down, line by line, where traffic goes and why. */
export function tell({ route: first, happenings, everySeconds, untilSeconds }: StoryOptions): string {
  let route = first;
  let state: SharesState = new Map();
  let before = '';
  const facts = new Map<ClusterName, TargetFacts>();
  const names = [
    ...new Set(
      [first, ...happenings.flatMap((each) => each.route ?? [])].flatMap((r) => r.targets.map((t) => t.cluster)),
    ),
  ];
  const lines = [`${'time'.padStart(7)}  ${names.map((name) => name.padStart(6)).join('')}  why`];
  for (let now = 0; now <= untilSeconds * 1000; now += tickMs) {
    const happens = happenings.filter((each) => each.at * 1000 === now);
    for (const each of happens) {
      if (each.route) route = each.route;
      for (const [cluster, fact] of each.facts ?? []) {
        facts.set(cluster, { reachable: true, health: 1, ...facts.get(cluster), ...fact });
      }
      lines.push(`${''.padStart(7)}  — ${each.what}`);
    }
    const result = stepAt(route, { facts, state }, { now, wallNow: now });
    state = result.state;
    const shares = names.map((name) => `${Math.round((result.shares.get(name) ?? 0) * 100)}%`.padStart(6)).join('');
    const why = names.map((name) => `${name}: ${result.reasons.get(name) ?? 'no target'}`).join('; ');
    const due = now % (everySeconds * 1000) === 0 && shares !== before;
    if (happens.length > 0 || due)
      lines.push(`${(now / 1000).toFixed(0).padStart(6)}s  ${shares}  ${why}${result.panic ? ' (panic)' : ''}`);
    if (happens.length > 0 || due) before = shares;
  }
  return `${lines.join('\n')}\n`;
}
