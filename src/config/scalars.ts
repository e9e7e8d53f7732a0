import { z } from 'zod';
import { parseTrustDomain, type TrustDomain } from '../model/identity.ts';
import {
  type ClusterName,
  isPort,
  parseClusterName,
  parseReplicaName,
  parseServiceKey,
  type ReplicaName,
  type ServiceKey,
} from '../model/names.ts';
import { type HostPort, isHost, isLoopback, parseHostPort } from '../model/address.ts';
import { parseDuration } from '../runtime/duration.ts';
import { fromText, scalar } from '../wire/schema.ts';

/** Makes a path of a file absolute; relative ones start at the configuration file's own folder. */
export type ResolvePath = (path: string) => string;

/** RFC 1123 label that is not the authority's own name. */
export const clusterName: z.ZodType<ClusterName> = fromText(`a cluster name, such as 'east'`, parseClusterName);

/** RFC 1123 label. */
export const replicaName: z.ZodType<ReplicaName> = fromText(`a replica name, such as 'agent-0'`, parseReplicaName);

/** `<namespace>/<name>`. */
export const serviceKey: z.ZodType<ServiceKey> = fromText(
  `a service as <namespace>/<name>, such as 'shop/web'`,
  parseServiceKey,
);

/** A SPIFFE trust domain name. */
export const trustDomain: z.ZodType<TrustDomain> = fromText(`a trust domain, such as 'mesh.example'`, parseTrustDomain);

/** A duration between two bounds, both in ms and inclusive. */
export function duration(minMs: number, maxMs: number): z.ZodType<number> {
  return fromText(`a duration such as '250ms', '30s' or '5m', from ${minMs} ms to ${maxMs} ms`, (value) => {
    const ms = parseDuration(value);
    return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
  });
}

/** Where to listen; port 0 takes a free one. */
export const listenAddress: z.ZodType<HostPort> = fromText(
  `an address as <host>:<port>, such as '127.0.0.1:15012' or '[::1]:15012'`,
  (value) => parseHostPort(value, true),
);

/** As `listenAddress`, on this machine only. */
export const loopbackAddress: z.ZodType<HostPort> = fromText(
  `a loopback address as <host>:<port>, such as '127.0.0.1:7070'; it has no sign-in of its own`,
  (value) => {
    const address = parseHostPort(value, true);
    return address && isLoopback(address.host) ? address : undefined;
  },
);

/** Where to dial. */
export const dialAddress: z.ZodType<HostPort> = fromText(
  `an address as <host>:<port>, such as '10.0.0.7:8443' or '[fd00::7]:8443'`,
  (value) => parseHostPort(value),
);

/** A host without a port. */
export const host: z.ZodType<string> = fromText(`a host name or IP address, such as '127.0.0.1'`, (value) =>
  isHost(value) ? value : undefined,
);

/** 1 to 65535. */
export const port: z.ZodType<number> = scalar('a port from 1 to 65535', (value) => (isPort(value) ? value : undefined));

/** A file or folder. */
export function path(resolve: ResolvePath): z.ZodType<string> {
  return fromText('a path', (value) => (value.includes('\0') ? undefined : resolve(value)));
}

/** Short free text without control characters. */
export function word(expected: string, syntax: RegExp): z.ZodType<string> {
  return fromText(expected, (value) => (syntax.test(value) ? value : undefined));
}

/** How much a role logs. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Default `info`. */
export const logLevel: z.ZodType<LogLevel> = z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info');
