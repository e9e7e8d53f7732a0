import type { Socket } from 'node:net';
import type { AccessLogEntry } from '../../../../src/gateway/access-log.ts';
import type { GatewayOptions } from '../../../../src/gateway/io/gateway.ts';
import type { GatewayLimits } from '../../../../src/gateway/limits.ts';
import type { ServiceRoute } from '../../../../src/model/route.ts';
import { type Backend, startBackend } from '../../../support/backend.ts';
import { freePort } from '../../../support/ports.ts';
import { createTestCa } from '../../support/identities.ts';
import { type Node, serviceRoute, startNode, tableOf, until } from '../../support/mesh.ts';

/** One gateway whose client and endpoints are on its own machine. */
export interface Stage {
  /** Where clients of the service connect. */
  readonly port: number;
  readonly node: Node;
  readonly backends: readonly Backend[];
  /** Changes the service. */
  setRoute(change: (route: ServiceRoute) => ServiceRoute): void;
  /** Waits for so many entries of the access log, and takes them out. */
  logged(count: number): Promise<AccessLogEntry[]>;
  close(): Promise<void>;
}

export interface StageOptions {
  /** One backend each. */
  readonly serve: readonly ((socket: Socket) => void)[];
  readonly protocol?: string | undefined;
  readonly limits?: Partial<GatewayLimits>;
  readonly route?: Partial<ServiceRoute>;
  readonly more?: Partial<GatewayOptions>;
  readonly metrics?: boolean;
}

export async function startStage(options: StageOptions): Promise<Stage> {
  const ca = createTestCa();
  const { limits, more } = options;
  const node = await startNode('west', {
    ca,
    clusters: ['west'],
    ...(limits && { limits }),
    ...(more && { more }),
    ...(options.metrics && { metrics: true }),
  });
  const backends = await Promise.all(options.serve.map((serve) => startBackend(serve)));
  const port = await freePort();
  const appProtocol = 'protocol' in options ? options.protocol : 'http';
  const base = serviceRoute({ self: 'west', importPort: port, local: backends.map((backend) => backend.port) });
  let route: ServiceRoute = {
    ...base,
    ports: [{ port: 80, importPort: port, ...(appProtocol !== undefined && { appProtocol }) }],
    ...options.route,
  };
  const apply = (): void => node.table.set(tableOf(node, [route], []));
  apply();
  await until('import port', () => node.gateway.importPorts().size > 0);
  return {
    port,
    node,
    backends,
    setRoute(change) {
      route = change(route);
      apply();
    },
    async logged(count) {
      await until(`${count} entries of the access log`, () => node.access.length >= count);
      return node.access.splice(0);
    },
    async close() {
      await Promise.all([node.gateway.close(), ...backends.map((backend) => backend.close())]);
      ca.close();
    },
  };
}
