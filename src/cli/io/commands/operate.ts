import {
  type DrainChange,
  type DrainRow,
  type FailoverEvent,
  policyPaths,
  type SimulationReport,
} from '../../../model/policy-report.ts';
import { exit } from '../../exit.ts';
import { formatAge, formatShare } from '../../text.ts';
import { drainsView, drainView, failoversView, simulationView } from '../../views/operate.ts';
import type { AdminConnection, World } from '../../world.ts';
import { connectServer } from '../connect.ts';
import { pause } from '../pause.ts';
import { type AnswerFlags, answer, readPolicyFiles, writeView } from './policy.ts';

export interface SimulateFlags extends AnswerFlags {
  readonly lose: readonly string[];
  readonly drain: readonly string[];
  readonly load: number;
  readonly policy: readonly string[];
}

/** `isthmus simulate`. Ends with 1 when a service would have nowhere to go. */
export async function simulateCommand(world: World, flags: SimulateFlags): Promise<number> {
  const { lose, drain, load, policy } = flags;
  const policies = policy.length === 0 ? [] : await readPolicyFiles(policy);
  let nowhere = false;
  await answer(world, flags, async (connection) => {
    const report = await connection.post<SimulationReport>(policyPaths.simulate, { lose, drain, load, policies });
    nowhere = report.nowhere.length > 0;
    return simulationView(report);
  });
  return nowhere ? exit.failed : exit.ok;
}

export interface DrainFlags extends AnswerFlags {
  readonly state: 'drained' | 'active';
  readonly overMs: number;
  readonly yes: boolean;
  /** Until it is over. */
  readonly wait: boolean;
}

const progressEveryMs = 1000;

/** `isthmus drain <target>` and `undrain <target>`: a preview, unless `yes`. */
export async function drainCommand(world: World, target: string, flags: DrainFlags): Promise<number> {
  const { state, overMs, yes, wait } = flags;
  const connection = await connectServer(world, 'agent', flags);
  try {
    const change = await connection.post<DrainChange>(policyPaths.drain, { target, state, overMs, preview: !yes });
    writeView(world, drainView(change), flags);
    if (!yes) return exit.ok;
    world.stderr.write(`Undo with:\n${change.undo}\n`);
    if (wait) await followDrain(world, connection, change.row);
    return exit.ok;
  } finally {
    await connection.close();
  }
}

/** Tells on stderr how far it is, until it is over. */
async function followDrain(world: World, connection: AdminConnection, { target }: DrainRow): Promise<void> {
  for (;;) {
    const rows = await connection.get<DrainRow[]>(policyPaths.drains);
    const row = rows.find((each) => each.target === target && each.state !== 'Refused');
    if (!row) return;
    const connections = row.active === undefined ? '' : `, ${row.active} connections from here`;
    world.stderr.write(`${row.target}: ${row.state}, ${formatShare(row.left)} left${connections}\n`);
    if (row.remainingMs === 0) return;
    world.stderr.write(`  ${formatAge(row.remainingMs)} to go\n`);
    await pause(Math.min(progressEveryMs, row.remainingMs));
  }
}

/** `isthmus drain` without a target: what is drained. */
export function listDrains(world: World, flags: AnswerFlags): Promise<number> {
  return answer(world, flags, async (connection) => drainsView(await connection.get<DrainRow[]>(policyPaths.drains)));
}

/** `isthmus failover history [service]` */
export function failoverHistory(world: World, service: string | undefined, flags: AnswerFlags): Promise<number> {
  const query = service === undefined ? '' : `?${new URLSearchParams({ service }).toString()}`;
  return answer(world, flags, async (connection) =>
    failoversView(await connection.get<FailoverEvent[]>(`${policyPaths.failovers}${query}`)),
  );
}
