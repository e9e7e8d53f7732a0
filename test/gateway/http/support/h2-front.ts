import type { AccessLogEntry } from '../../../../src/gateway/access-log.ts';
import { ServiceBook } from '../../../../src/gateway/balance/service-book.ts';
import type { Tracer } from '../../../../src/gateway/http/trace/tracer.ts';
import type { RequestJudge } from '../../../../src/gateway/io/http/context.ts';
import { H2Seats } from '../../../../src/gateway/io/http/h2-seats.ts';
import { serveH2 } from '../../../../src/gateway/io/http/h2-server.ts';
import { HttpPorts } from '../../../../src/gateway/io/http/ports.ts';
import { Upstreams } from '../../../../src/gateway/io/http/upstreams.ts';
import { Connections } from '../../../../src/gateway/io/connections.ts';
import { LocalAddresses } from '../../../../src/gateway/io/local-addresses.ts';
import type { SessionPool } from '../../../../src/gateway/io/pool.ts';
import { type GatewayLimits, limitsOf } from '../../../../src/gateway/limits.ts';
import { parseClusterName, parseServiceKey } from '../../../../src/model/names.ts';
import type { HttpPlan } from '../../../../src/model/traffic.ts';
import { step } from '../../../../src/policy/shares.ts';
import { systemClock } from '../../../../src/runtime/io/clock.ts';
import { listenTcp } from '../../../../src/runtime/io/tcp-server.ts';
import { serviceRoute } from '../../support/mesh.ts';

export interface H2FrontOptions {
  /** Ports of the endpoints on 127.0.0.1. */
  readonly endpoints: readonly number[];
  /** `h2c`, `grpc`, `http`. */
  readonly appProtocol: string;
  readonly http?: HttpPlan;
  readonly limits?: Partial<GatewayLimits>;
  readonly tracer?: Tracer;
  readonly judge?: RequestJudge;
}

/** The HTTP/2 side of a gateway with local endpoints only, without anything around it. */
export interface H2Front {
  readonly port: number;
  /** One per request, after its end. */
  readonly entries: AccessLogEntry[];
  /** Requests that the service has in this gateway. */
  active(): number;
  /** Connections of clients that have not ended. */
  open(): number;
  /** Bytes that waited for slow receivers at the last sweep. */
  buffered(): number;
  /** Connections to upstreams that have not ended. */
  upstreams(): number;
  /** Ends all of them. */
  cutUpstreams(): void;
  setEndpoints(endpoints: readonly number[]): void;
  /** What the gateway does each second. */
  sweep(now?: number): void;
  drain(): void;
  /** An operator takes it out of use: whoever comes is served all the same. */
  sendAway(): void;
  /** Ends every connection at once. */
  cut(): void;
  close(): Promise<void>;
}

export async function startH2Front(options: H2FrontOptions): Promise<H2Front> {
  const self = parseClusterName('east');
  const clock = systemClock;
  const limits = limitsOf(options.limits);
  const entries: AccessLogEntry[] = [];
  const book = new ServiceBook({ self, step, rules: limits, reach: () => 'down', onChange: () => undefined });
  const setEndpoints = (local: readonly number[]): void => {
    const route = serviceRoute({ self, local });
    const shaped = {
      ...route,
      ports: [{ port: 80, importPort: undefined, appProtocol: options.appProtocol }],
      ...(options.http && { http: options.http }),
    };
    book.setTable({ self, services: new Map([[shaped.key, shaped]]), clusters: new Map() }, clock.monotonic());
  };
  setEndpoints(options.endpoints);
  const noPool = { links: () => [] } satisfies Pick<SessionPool, 'links'>;
  const upstreams = new Upstreams(
    {
      book,
      pool: noPool as unknown as SessionPool,
      self,
      now: () => clock.monotonic(),
      random: () => clock.random(),
      limits,
      local: new LocalAddresses(clock, () => []),
    },
    { clock, limits },
  );
  const ports = new HttpPorts(book, limits);
  const h2 = new H2Seats(ports, { upstreams, clock, limits });
  const connections = new Connections({ limits, clock, accessLog: undefined });
  let draining = false;
  let away = false;
  let made = 0;
  const service = parseServiceKey('shop/web');
  const server = await listenTcp({ host: '127.0.0.1', port: 0 }, (end) => {
    const about = {
      direction: 'outbound',
      remoteAddress: `127.0.0.1:${end.remotePort}`,
      sourceCluster: self,
      peer: undefined,
      sourceIdentity: undefined,
      rule: undefined,
      traceparent: undefined,
    } as const;
    serveH2(
      {
        end,
        service,
        port: 80,
        about,
        source: '127.0.0.1',
        onward: { service, port: 80, hop: 0 },
        judge: options.judge,
        opened: undefined,
      },
      {
        self,
        clock,
        limits,
        upstreams,
        ports,
        h2,
        connections,
        goesOn: () => undefined,
        ended: (exchange) => void entries.push(exchange.entry(clock.monotonic(), clock.now())),
        draining: () => draining,
        sendsAway: () => draining || away,
        tracer: options.tracer,
        requestId: () => `made-${(made += 1)}`,
      },
    );
  });
  return {
    port: server.port,
    entries,
    active: () => book.get(service)?.circuit.open ?? 0,
    open: () => connections.size,
    upstreams: () => h2.size,
    cutUpstreams: () => h2.close(),
    buffered: () => connections.buffered,
    setEndpoints,
    sweep(now = clock.monotonic()) {
      connections.sweep(now);
      connections.weigh();
      h2.sweep(now);
    },
    drain() {
      draining = true;
      server.stop();
      connections.drain();
    },
    sendAway() {
      away = true;
      connections.drain();
    },
    cut: () => connections.cutAll(),
    async close() {
      connections.cutAll();
      h2.close();
      ports.close();
      await server.close();
    },
  };
}
