import type { FailoverPlan } from '../model/route.ts';
import type { Weighed } from './weigh.ts';

/** One short sentence: why a target has the share it has. */
export function reasonOf(each: Weighed, share: number, plan: FailoverPlan): string {
  const { target, level } = each;
  const parts: string[] = [];
  if (target.drain?.drained && each.left === 0) return `drained by ${target.drain.by}`;
  if (target.drain && each.left < 1) {
    parts.push(`${target.drain.drained ? 'draining' : 'undraining'}, ${percent(each.left)} left`);
  }
  if (level.health === 0) parts.push(whyOut(each));
  else if (level.ramp < 1 || level.granted < level.health) {
    const held = level.granted === level.state.level && level.ramp < 1;
    if (held && share > 0 && level.granted === 0) parts.push('healthy again, taken at once: nothing else serves');
    else parts.push(held && level.granted === 0 ? 'healthy again, held' : held ? 'better again, held' : 'returning');
  }
  if (level.health > 0 && level.health < 1) parts.push(`${percent(level.health)} healthy`);
  if (each.admitted.room < 1) parts.push(`above ${percent(plan.spillAt ?? 1)} of capacity`);
  else if (each.admitted.part < 1) parts.push('load has fallen, returning');
  if (target.stale) parts.push('data stale');
  if (parts.length > 0) return parts.join(', ');
  if (target.weight === 0) return 'weight 0';
  if (share === 0) return 'standby: better tier serves';
  if (target.weight !== undefined) return 'by weight';
  return target.tier === 0 ? 'local preferred' : 'by capacity';
}

function whyOut({ reachable, target }: Weighed): string {
  if (!reachable) return 'unreachable';
  return target.capacity > 0 ? 'no healthy endpoint' : 'no endpoint';
}

function percent(part: number): string {
  return `${Math.round(part * 100)}%`;
}
