import { z } from 'zod';
import { IsthmusError } from '../model/error.ts';
import { parseSpiffeId, parseTrustDomain, type TrustDomain } from '../model/identity.ts';
import { type ClusterName, parseClusterName, parseServiceKey } from '../model/names.ts';
import { formatDuration, parseDuration } from '../runtime/duration.ts';
import { fromText } from '../wire/schema.ts';
import { readPath } from './request-path.ts';

/** Values that policies are made of. */

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** RFC 1123 label: a namespace, a service's or a policy's name. */
export function nameWord(what: string): z.ZodType<string> {
  return fromText(`${what} of 1 to 63 of a-z, 0-9 and '-'`, (value) => (label.test(value) ? value : undefined));
}

export const cluster: z.ZodType<ClusterName> = fromText(`a cluster name, such as 'east'`, parseClusterName);

export const trustDomain: z.ZodType<TrustDomain> = fromText(
  `a trust domain, such as 'east.mesh.example'`,
  parseTrustDomain,
);

/** A duration between two bounds, both in ms and inclusive. */
export function duration(minMs: number, maxMs: number): z.ZodType<number> {
  return fromText(
    `a duration such as '250ms', '30s' or '5m', from ${formatDuration(minMs)} to ${formatDuration(maxMs)}`,
    (value) => {
      const ms = parseDuration(value);
      return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
    },
  );
}

/** `<namespace>/<service account>`; service accounts may have dots (RFC 1123 subdomain). */
export const serviceAccount: z.ZodType<string> = fromText(
  `a service account as <namespace>/<name>, such as 'shop/web'`,
  (value) => {
    const [namespace = '', name = '', ...more] = value.split('/');
    return more.length === 0 && label.test(namespace) && /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/.test(name)
      ? value
      : undefined;
  },
);

/** A SPIFFE ID, or one that ends in `/*`. */
export const idPattern: z.ZodType<string> = fromText(
  `a SPIFFE ID, such as 'spiffe://east.mesh.example/ns/shop/sa/web', or one that ends in '/*'`,
  (value) => {
    parseSpiffeId(value.endsWith('/*') ? value.slice(0, -2) : value);
    return value;
  },
);

/** The name of a service in the policy's namespace. */
export const serviceName: z.ZodType<string> = fromText(
  `the name of a service of the policy's own namespace, such as 'web'`,
  (value) => {
    parseServiceKey(`x/${value}`);
    return value;
  },
);

/** Case counts (RFC 9110 §9.1), and all that are in use are in upper case. */
export const method: z.ZodType<string> = fromText(`a method in upper case, such as 'GET'`, (value) =>
  /^[A-Z][-A-Z0-9_]{0,31}$/.test(value) ? value : undefined,
);

const maxPath = 1024;

/** The result is decoded. */
export const pathPrefix: z.ZodType<string> = fromText(
  `the beginning of a path in whole segments, such as '/api': it is for '/api' and all below`,
  (value) => {
    const wrong = (why: string): never => {
      throw new IsthmusError('invalid', `must be the beginning of a path, such as '/api', and it ${why}`);
    };
    if (value.length > maxPath) return wrong(`is longer than ${maxPath}`);
    if (value.includes('?')) return wrong('has a query, which no rule can judge');
    if (value.includes('*')) return wrong(`has a '*': a prefix is for all below it by itself`);
    const read = readPath(value);
    if (!read.ok) return wrong(read.reason);
    return value !== '/' && value.endsWith('/') ? wrong(`ends in '/': '/api' is for '/api/' as well`) : read.path;
  },
);

const maxLabels = 16;

/** At least one label with its value. */
export const labels: z.ZodType<Readonly<Record<string, string>>> = z
  .record(
    z.string().regex(/^[a-zA-Z0-9]([-_.a-zA-Z0-9/]{0,315}[a-zA-Z0-9])?$/, 'must be a label key'),
    z.string().max(253),
  )
  .refine((given) => Object.keys(given).length > 0, 'must name at least one label: leave it out instead')
  .refine((given) => Object.keys(given).length <= maxLabels, `must name at most ${maxLabels} labels`);
