import { z } from 'zod';
import { parseReplicaName, type ReplicaName } from '../model/names.ts';
import type { HostPort } from '../model/address.ts';
import type { ConfigDocument } from './document.ts';
import {
  dialAddress,
  duration,
  host,
  type LogLevel,
  listenAddress,
  logLevel,
  path,
  port,
  type ResolvePath,
  replicaName,
} from './scalars.ts';
import { type ConfigSource, sourceOf } from './source.ts';
import { count, section } from '../wire/schema.ts';
import { type Validated, validate } from './validate.ts';

/** Bounds an operator may move, named as the gateway's own; what is absent has the gateway's default. */
export interface GatewayLimitsConfig {
  /** Connections carried at once, both ways together. */
  readonly connections?: number;
  /** Sessions that other gateways may hold here. */
  readonly inboundSessions?: number;
  readonly streamsPerSession?: number;
  /** HTTP/2 window of one stream: throughput over distance is about 0.85 × window / round trip. */
  readonly streamWindowBytes?: number;
  /** A dial of one candidate may take so long, in ms. */
  readonly connectTimeoutMs?: number;
  /** A connection without a byte in either direction is cut after so long, in ms. */
  readonly idleTimeoutMs?: number;
}

/** What `isthmus gateway` runs from. Paths are absolute. Its cluster is what its token says. */
export interface GatewayConfig {
  /** 0700; SVID and key, last good routes. */
  readonly stateDir: string;
  /** Default `gateway-0`. */
  readonly replica: ReplicaName;
  /** Agents of the own cluster; empty = as the token said. */
  readonly agent: readonly HostPort[];
  /** Redeemed when the state directory holds no identity yet. */
  readonly join?: { readonly tokenFile: string };
  readonly listen: {
    /** HBONE, for other clusters' gateways. Default 0.0.0.0:15008. */
    readonly hbone: HostPort;
    /** Host of the plain listeners for imported services. Default 127.0.0.1. */
    readonly imports: string;
    /** `/healthz/ready` and `/healthz/live`. Default 127.0.0.1:15021. */
    readonly health: HostPort;
  };
  /** Where other clusters' gateways reach `listen.hbone`. Default: that, when it is a single address. */
  readonly advertise: readonly GatewayAddressConfig[];
  readonly limits: GatewayLimitsConfig;
  /** At shutdown, connections in progress have so long to finish, in ms. Default 30 s. */
  readonly drainTimeoutMs: number;
  readonly log: LogLevel;
  readonly source?: ConfigSource;
}

/** One address at which other clusters reach this gateway. */
export interface GatewayAddressConfig {
  readonly address: string;
  readonly port: number;
}

const day = 86_400_000;

const limits: z.ZodType<GatewayLimitsConfig> = section({
  connections: z.exactOptional(count(1, 1_000_000)),
  inboundSessions: z.exactOptional(count(1, 10_000)),
  streamsPerSession: z.exactOptional(count(1, 1_000_000)),
  streamWindowBytes: z.exactOptional(count(65_535, 67_108_864)),
  connectTimeout: z.exactOptional(duration(10, 60_000)),
  idleTimeout: z.exactOptional(duration(1000, 7 * day)),
}).transform(({ connectTimeout, idleTimeout, ...counts }) => ({
  ...counts,
  ...(connectTimeout !== undefined && { connectTimeoutMs: connectTimeout }),
  ...(idleTimeout !== undefined && { idleTimeoutMs: idleTimeout }),
}));

function schema(resolve: ResolvePath): z.ZodType<GatewayConfig> {
  return section({
    role: z.exactOptional(z.literal('gateway')),
    stateDir: path(resolve),
    replica: replicaName.default(parseReplicaName('gateway-0')),
    agent: z.array(dialAddress).max(16).default([]),
    join: z.exactOptional(section({ tokenFile: path(resolve) })),
    listen: section({
      hbone: listenAddress.default({ host: '0.0.0.0', port: 15_008 }),
      imports: host.default('127.0.0.1'),
      health: listenAddress.default({ host: '127.0.0.1', port: 15_021 }),
    }).prefault({}),
    advertise: z.exactOptional(
      z
        .array(section({ address: host, port }))
        .min(1)
        .max(16),
    ),
    limits: limits.prefault({}),
    drainTimeout: duration(0, 3_600_000).default(30_000),
    log: logLevel,
  })
    .superRefine(({ listen: { hbone }, advertise }, context) => {
      if (advertise === undefined && (hbone.host === '0.0.0.0' || hbone.host === '::')) {
        const message = `is required: the addresses at which other clusters reach this gateway, because it listens everywhere`;
        context.addIssue({ code: 'custom', path: ['advertise'], message });
      }
    })
    .transform(({ role: _role, drainTimeout, ...config }) => ({
      ...config,
      drainTimeoutMs: drainTimeout,
      advertise: config.advertise ?? [{ address: config.listen.hbone.host, port: config.listen.hbone.port }],
    }));
}

/** Reads a gateway's configuration; every default is applied. */
export function parseGatewayConfig(document: ConfigDocument, resolve: ResolvePath): Validated<GatewayConfig> {
  const result = validate(schema(resolve), document);
  return result.ok ? { ok: true, value: { ...result.value, source: sourceOf(document) } } : result;
}
