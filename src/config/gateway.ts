import { z } from 'zod';
import { parseReplicaName, type ReplicaName } from '../model/names.ts';
import type { HostPort } from '../model/address.ts';
import type { GatewayLimits } from '../model/gateway-limits.ts';
import type { SourceIdentityRule } from '../model/source-identity.ts';
import type { ConfigDocument } from './document.ts';
import { identityList } from './identities.ts';
import { gatewayLimits } from './limits.ts';
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
import { fromText, section, share } from '../wire/schema.ts';
import { type Validated, validate } from './validate.ts';

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
    /** `/metrics`, and for this machine `/config`, `/routes` and `/stats`. Default 127.0.0.1:15090. */
    readonly metrics: HostPort;
  };
  /** Where other clusters' gateways reach `listen.hbone`. Default: that, when it is a single address. */
  readonly advertise: readonly GatewayAddressConfig[];
  /** What is absent has the gateway's default. */
  readonly limits: Partial<GatewayLimits>;
  /** Which workloads use which addresses; the longest prefix wins. Default: none, clients are anonymous. */
  readonly identities: readonly SourceIdentityRule[];
  /** 0 to 1: the part of connections without trouble that the access log shows; those with trouble are all there. */
  readonly accessLog: { readonly sample: number };
  readonly http?: {
    /** Look at the first bytes of connections to ports that say nothing of their protocol. Default false. */
    readonly detect: boolean;
  };
  /** Where spans of requests go, and how many of the traces begun here. Absent: traces are passed on as they come. */
  readonly tracing?: {
    /** OTLP over HTTP: `http://127.0.0.1:4318`; spans go to `/v1/traces` below it. */
    readonly otlp: string;
    /** 0 to 1; what others have begun is recorded when they do. Default 0.1. */
    readonly sample: number;
  };
  /** At shutdown, not ready but serving for so long: time for balancers to look away, in ms. Default 0. */
  readonly drainGraceMs: number;
  /** Then connections in progress have so long to finish, in ms. Default 30 s. */
  readonly drainTimeoutMs: number;
  readonly log: LogLevel;
  readonly source?: ConfigSource;
}

/** One address at which other clusters reach this gateway. */
export interface GatewayAddressConfig {
  readonly address: string;
  readonly port: number;
}

const otlpAddress: z.ZodType<string> = fromText(
  `an address of OTLP over HTTP, such as 'http://127.0.0.1:4318'`,
  (value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const plain = url?.username === '' && url.password === '' && url.search === '' && url.hash === '';
    return plain && (url.protocol === 'http:' || url.protocol === 'https:') ? value : undefined;
  },
);

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
      metrics: listenAddress.default({ host: '127.0.0.1', port: 15_090 }),
    }).prefault({}),
    advertise: z.exactOptional(
      z
        .array(section({ address: host, port }))
        .min(1)
        .max(16),
    ),
    limits: gatewayLimits.prefault({}),
    identities: identityList.default([]),
    accessLog: section({ sample: share.default(1) }).prefault({}),
    http: z.exactOptional(section({ detect: z.boolean().default(false) })),
    tracing: z.exactOptional(section({ otlp: otlpAddress, sample: share.default(0.1) })),
    drainGrace: duration(0, 600_000).default(0),
    drainTimeout: duration(0, 3_600_000).default(30_000),
    log: logLevel,
  })
    .superRefine(({ listen: { hbone }, advertise }, context) => {
      if (advertise === undefined && (hbone.host === '0.0.0.0' || hbone.host === '::')) {
        const message = `is required: the addresses at which other clusters reach this gateway, because it listens everywhere`;
        context.addIssue({ code: 'custom', path: ['advertise'], message });
      }
    })
    .transform(({ role: _role, drainTimeout, drainGrace, ...config }) => ({
      ...config,
      drainGraceMs: drainGrace,
      drainTimeoutMs: drainTimeout,
      advertise: config.advertise ?? [{ address: config.listen.hbone.host, port: config.listen.hbone.port }],
    }));
}

/** Reads a gateway's configuration; every default is applied. */
export function parseGatewayConfig(document: ConfigDocument, resolve: ResolvePath): Validated<GatewayConfig> {
  const result = validate(schema(resolve), document);
  return result.ok ? { ok: true, value: { ...result.value, source: sourceOf(document) } } : result;
}
