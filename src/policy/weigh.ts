import type { FailoverPlan, Target } from '../model/route.ts';
import type { ServiceFacts, SharesState } from '../model/shares.ts';
import { drainLeft } from './drain.ts';
import { type Admitted, admittedOf, type Level, levelOf } from './level.ts';

/** How often shares are looked at while they move with time. */
const rampStepMs = 250;

/** When a step is made: `now` counts durations, `wallNow` (ms since the epoch) is compared with what operators wrote. */
export interface Moment {
  readonly now: number;
  readonly wallNow: number;
}

/** One target as this step sees it. */
export interface Weighed {
  readonly target: Target;
  readonly level: Level;
  /** 0 to 1: what an operator's drain leaves of its share. */
  readonly left: number;
  readonly admitted: Admitted;
  readonly reachable: boolean;
  readonly changesAt: number | undefined;
}

export interface WeighContext {
  readonly plan: FailoverPlan;
  readonly facts: ServiceFacts;
  readonly state: SharesState;
  readonly moment: Moment;
}

/** Looks at one target by everything that is known of it. */
export function weigh(target: Target, { plan, facts, state, moment }: WeighContext): Weighed {
  const fact = facts.get(target.cluster);
  const before = state.get(target.cluster);
  const at = { plan, now: moment.now };
  const reachable = fact?.reachable ?? true;
  const health = reachable && target.capacity > 0 ? Math.min(target.health, fact?.health ?? 1) : 0;
  const level = levelOf(health, before, at);
  const used = fact?.load;
  const load = used === undefined || target.rated === undefined ? undefined : { used, rated: target.rated * health };
  const admitted = admittedOf(health > 0 ? load : undefined, before, at);
  const drain = target.drain && drainLeft(target.drain, moment.wallNow);
  const moves = drain?.moving || admitted.part < 1 ? moment.now + rampStepMs : undefined;
  const ends = level.holdEnds === undefined ? undefined : Math.max(level.holdEnds, moment.now + 1);
  const ramps = ends !== undefined && level.holdEnds === moment.now ? moment.now + rampStepMs : ends;
  return {
    target,
    level,
    left: drain?.left ?? 1,
    admitted,
    reachable,
    changesAt: moves === undefined ? ramps : ramps === undefined ? moves : Math.min(moves, ramps),
  };
}
