import type { FailoverPlan } from '../model/route.ts';
import type { TargetState } from '../model/shares.ts';

/** Less health than this is none: one endpoint in a million, and no arithmetic on denormal numbers. */
const leastHealth = 1e-6;

/** How much of a target's health counts already. */
export interface Level {
  /** 0 to 1: what the target could carry. */
  readonly health: number;
  /** 0 to `health`: what it had before it got better, whatever has been granted since. */
  readonly firm: number;
  /** 0 to `health`: what it is given, after an outage or a dip. */
  readonly granted: number;
  /** 0 to 1: its part of what its siblings of equal health have. */
  readonly ramp: number;
  readonly state: Pick<TargetState, 'level' | 'betterSince'>;
  /** Monotonic ms at which it may change by time alone. */
  readonly holdEnds: number | undefined;
}

/**
 * Worse health counts at once; better health only after it has lasted for `holdMs`, and then over `returnOverMs`
 * (policy.md, `hold`, `returnOver`). What is seen for the first time counts at once.
 */
export function levelOf(
  health: number,
  before: Pick<TargetState, 'level' | 'betterSince'> | undefined,
  { plan, now }: { readonly plan: FailoverPlan; readonly now: number },
): Level {
  if (health < leastHealth) return settled(0);
  if (!before || before.level >= health) return settled(health);
  const since = before.betterSince ?? now;
  // From here on the target takes all that it takes with full health.
  const enough = plan.healthyThreshold > 0 ? Math.min(plan.healthyThreshold, health) : health;
  const elapsed = now - since - plan.holdMs;
  const gained =
    plan.returnOverMs === 0 ? (elapsed >= 0 ? enough : 0) : (enough * Math.max(0, elapsed)) / plan.returnOverMs;
  const granted = before.level + gained;
  if (granted >= enough && elapsed >= 0) return settled(health);
  return {
    health,
    firm: before.level,
    granted: Math.min(granted, health),
    ramp: Math.min(1, granted / enough),
    state: { level: before.level, betterSince: since },
    holdEnds: elapsed < 0 ? since + plan.holdMs : now,
  };
}

function settled(health: number): Level {
  return {
    health,
    firm: health,
    granted: health,
    ramp: health > 0 ? 1 : 0,
    state: { level: health, betterSince: undefined },
    holdEnds: undefined,
  };
}

/** What load leaves of a target's share. */
export interface Admitted {
  /** 0 to 1. */
  readonly part: number;
  /** 0 to 1: what it will be, when load stays as it is. */
  readonly room: number;
}

/**
 * The part of its share that a target keeps under load. All of it up to `spillAt` of what is rated, none at
 * 100 %; in between in proportion, so that load settles there by itself. It falls at once and comes back over
 * `returnOverMs`, so that a load that swings moves nothing to and fro.
 */
export function admittedOf(
  load: { readonly used: number; readonly rated: number } | undefined,
  before: Pick<TargetState, 'admitted' | 'at'> | undefined,
  { plan, now }: { readonly plan: FailoverPlan; readonly now: number },
): Admitted {
  const last = before?.admitted ?? 1;
  const room = load && plan.spillAt !== undefined ? roomOf(load, plan.spillAt) : 1;
  if (room <= last || plan.returnOverMs === 0) return { part: room, room };
  const risen = last + Math.max(0, now - (before?.at ?? now)) / plan.returnOverMs;
  return { part: Math.min(room, risen), room };
}

function roomOf({ used, rated }: { readonly used: number; readonly rated: number }, spillAt: number): number {
  if (rated <= 0) return 0;
  const utilisation = used / rated;
  if (utilisation <= spillAt) return 1;
  return spillAt >= 1 ? 0 : Math.max(0, (1 - utilisation) / (1 - spillAt));
}
