import { IsthmusError } from '../../../model/error.ts';
import {
  type AgentStatus,
  type AuthorityStatus,
  adminPaths,
  type ClusterRow,
  type EventRow,
  type Explanation,
  type GatewayRow,
  type LinkRow,
  type ServiceDetail,
  type ServiceRow,
} from '../../../model/status.ts';
import type { TrustStatus } from '../../../model/trust-report.ts';
import { exit } from '../../exit.ts';
import type { ServerKind } from '../../servers.ts';
import type { OutputFormat } from '../../output-format.ts';
import { render, type View, wantsColour } from '../../view.ts';
import { clustersView } from '../../views/clusters.ts';
import { eventsView } from '../../views/hub.ts';
import { explainView } from '../../views/explain.ts';
import { gatewaysView } from '../../views/gateways.ts';
import { linksView } from '../../views/links.ts';
import { serviceView, servicesView } from '../../views/services.ts';
import { statusView } from '../../views/status.ts';
import { trustStatusView } from '../../views/trust-status.ts';
import type { AdminConnection, World } from '../../world.ts';
import { connectServer, type ServerFlags } from '../connect.ts';
import { pause } from '../pause.ts';

/** Flags of every verb that shows something. */
export interface ShowFlags extends ServerFlags {
  readonly output: OutputFormat;
  readonly headers: boolean;
  readonly watch?: boolean;
  /** `explain`: who calls, and what it asks for. */
  readonly about?: Readonly<Partial<Record<'as' | 'method' | 'path', string>>> | undefined;
}

/** A verb that shows something. */
export type ShowVerb =
  | 'events'
  | 'status'
  | 'clusters'
  | 'links'
  | 'services'
  | 'gateways'
  | 'explain'
  | 'trust status';

interface Shown {
  readonly view: View;
  /** Exit status; 0 unless the answer itself is a no. */
  readonly status: number;
}

type Ask = (connection: AdminConnection, args: readonly string[], flags: ShowFlags) => Promise<Shown>;

const watchEveryMs = 1000;
/** `status --wait` looks this often, and gives each look so long. */
const pollEveryMs = 100;
const pollTimeoutMs = 2000;

function shown(view: View, status: number = exit.ok): Shown {
  return { view, status };
}

async function askServices(connection: AdminConnection, [service]: readonly string[]): Promise<Shown> {
  if (service === undefined) return shown(servicesView(await connection.get<ServiceRow[]>(adminPaths.services)));
  const [namespace = '', name = ''] = service.split('/');
  const path = `${adminPaths.services}/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
  return shown(serviceView(await connection.get<ServiceDetail>(path)));
}

async function askExplain(connection: AdminConnection, args: readonly string[], { about }: ShowFlags): Promise<Shown> {
  const [first = '', second] = args;
  const query = { ...about, ...(second === undefined ? { to: first } : { from: first, to: second }) };
  const explanation = await connection.get<Explanation>(
    `${adminPaths.explain}?${new URLSearchParams(query).toString()}`,
  );
  return shown(explainView(explanation), explanation.ok ? exit.ok : exit.failed);
}

const asks: Readonly<Record<ShowVerb, Ask>> = {
  status: async (connection) =>
    shown(statusView(await connection.get<AgentStatus | AuthorityStatus>(adminPaths.status))),
  clusters: async (connection) => shown(clustersView(await connection.get<ClusterRow[]>(adminPaths.clusters))),
  links: async (connection) => shown(linksView(await connection.get<LinkRow[]>(adminPaths.links))),
  services: askServices,
  gateways: async (connection) => shown(gatewaysView(await connection.get<GatewayRow[]>(adminPaths.gateways))),
  explain: askExplain,
  events: async (connection) => shown(eventsView(await connection.get<EventRow[]>(adminPaths.events))),
  'trust status': async (connection) =>
    shown(trustStatusView(await connection.get<TrustStatus>(adminPaths.trustStatus))),
};

/** What the authority answers too. */
const serverKinds: Readonly<Partial<Record<ShowVerb, ServerKind>>> = { status: 'any', clusters: 'any' };

/** Checks what can be checked without a server. @throws IsthmusError `invalid` */
function checkArguments(verb: ShowVerb, args: readonly string[]): void {
  const [first, second] = args;
  if (verb === 'services' && first !== undefined && !/^[^/]+\/[^/]+$/.test(first)) {
    throw new IsthmusError('invalid', `A service must be <namespace>/<name>: current value is '${first}'`);
  }
  const destination = second ?? first;
  if (verb === 'explain' && !/^[^/]+\/[^/:]+:\d+$/.test(destination ?? '')) {
    throw new IsthmusError(
      'invalid',
      `A destination must be <namespace>/<name>:<port>: current value is '${destination}'`,
    );
  }
}

/** Asks, writes the answer; with `--watch` again each second until interrupted. */
export async function showCommand(
  world: World,
  verb: ShowVerb,
  args: readonly string[],
  flags: ShowFlags,
): Promise<number> {
  checkArguments(verb, args);
  const signal = flags.watch ? world.catchSignals() : undefined;
  const connection = await connectServer(world, serverKinds[verb] ?? 'agent', flags);
  const options = { format: flags.output, headers: flags.headers, colour: wantsColour(world.stdout.isTTY, world.env) };
  try {
    for (;;) {
      const { view, status } = await asks[verb](connection, args, flags);
      if (signal && world.stdout.isTTY) world.stdout.write('\u001b[H\u001b[2J');
      world.stdout.write(render(view, options));
      if (!signal) return status;
      await pause(watchEveryMs, signal);
      if (signal.aborted) return exit.ok;
    }
  } finally {
    await connection.close();
  }
}

/** Waits until the server says that it is ready, then shows its status. @throws IsthmusError `timeout` */
export async function waitReady(world: World, flags: ShowFlags): Promise<number> {
  const deadline = performance.now() + flags.timeoutMs;
  let waits = 'it to answer';
  while (performance.now() < deadline) {
    try {
      const connection = await connectServer(world, 'any', {
        ...flags,
        timeoutMs: Math.min(flags.timeoutMs, pollTimeoutMs),
      });
      try {
        const status = await connection.get<AgentStatus | AuthorityStatus>(adminPaths.status);
        if (status.waitingFor.length === 0) return await showCommand(world, 'status', [], { ...flags, watch: false });
        waits = status.waitingFor.join('; ');
      } finally {
        await connection.close();
      }
    } catch (thrown) {
      const error = IsthmusError.from(thrown);
      if (error.code !== 'unavailable' && error.code !== 'timeout') throw error;
      waits = error.message;
    }
    await pause(pollEveryMs);
  }
  throw new IsthmusError('timeout', `Not ready within ${flags.timeoutMs} ms; it waits for ${waits}`);
}
