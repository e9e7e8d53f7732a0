import { z } from 'zod';
import { IsthmusError } from '../model/error.ts';
import { authorityTrustDomain, clusterTrustDomain, parseTrustDomain } from '../model/identity.ts';
import { parseClusterName } from '../model/names.ts';
import type { AdmissionLimits, Roster, RosterEntry } from '../model/trust.ts';
import { keyId } from './acknowledgement.ts';
import { decodeJson } from './json-decoding.ts';

/** The roster as the authority seals it: JSON, members in order of their names, so that equal rosters are equal bytes. */

/** Room for about 5,000 members; larger is refused unread. */
const maxRosterBytes = 4 << 20;
const maxMembers = 5000;

const sequence = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const amount = z.number().int().min(0).max(1_000_000_000);

const entrySchema = z.object({
  cluster: z.string().transform(parseClusterName),
  trustDomain: z.string().transform(parseTrustDomain),
  state: z.enum(['active', 'suspended', 'revoked']),
  caKeyIds: z.array(keyId).max(64),
  labels: z.record(z.string().max(317), z.string().max(253)),
  exportable: z.array(z.string().max(255)).max(1000),
  mayPublishPolicy: z.exactOptional(z.literal(true)),
  mayOperate: z.exactOptional(z.literal(true)),
  limits: z.exactOptional(z.object({ services: z.exactOptional(amount), endpoints: z.exactOptional(amount) })),
  leaving: z.exactOptional(z.literal(true)),
});

const schema = z.object({
  version: z.literal(1),
  federationDomain: z.string().transform(parseTrustDomain),
  sequence,
  issuedAt: sequence,
  clusters: z.array(entrySchema).max(maxMembers),
  deniedKeyIds: z.array(keyId).max(10_000),
});

function encodeEntry(entry: RosterEntry): object {
  const labels = Object.fromEntries(Object.entries(entry.labels).sort(([a], [b]) => (a < b ? -1 : 1)));
  return {
    cluster: entry.cluster,
    trustDomain: entry.trustDomain,
    state: entry.state,
    caKeyIds: [...entry.caKeyIds].sort(),
    labels,
    exportable: [...entry.exportable].sort(),
    ...(entry.mayPublishPolicy && { mayPublishPolicy: true }),
    ...(entry.mayOperate && { mayOperate: true }),
    ...(entry.limits && { limits: encodeLimits(entry.limits) }),
    ...(entry.leaving && { leaving: true }),
  };
}

function encodeLimits({ services, endpoints }: AdmissionLimits): object {
  return { ...(services !== undefined && { services }), ...(endpoints !== undefined && { endpoints }) };
}

/** @throws IsthmusError `exhausted` when it is larger than readers accept */
export function encodeRoster(roster: Roster): Uint8Array {
  const clusters = [...roster.clusters.values()].sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
  const bytes = Buffer.from(
    JSON.stringify({
      version: 1,
      federationDomain: roster.federationDomain,
      sequence: roster.sequence,
      issuedAt: roster.issuedAt,
      clusters: clusters.map(encodeEntry),
      deniedKeyIds: [...roster.deniedKeyIds].sort(),
    }),
  );
  if (bytes.length > maxRosterBytes || clusters.length > maxMembers) {
    throw new IsthmusError('exhausted', `A roster of ${clusters.length} members, ${bytes.length} bytes, is too large`);
  }
  return bytes;
}

/** Also checks that every member's trust domain is the one that follows from its name. @throws IsthmusError `corrupt` */
export function decodeRoster(bytes: Uint8Array): Roster {
  const parsed = decodeJson('A roster', schema, { bytes, limit: maxRosterBytes });
  const { federationDomain } = parsed;
  const clusters = new Map<RosterEntry['cluster'], RosterEntry>();
  for (const entry of parsed.clusters) {
    if (clusters.has(entry.cluster)) throw new IsthmusError('corrupt', `A roster names ${entry.cluster} twice`);
    // One cluster, one trust domain, no overlap: what a member calls itself decides what it may sign.
    if (
      entry.trustDomain !== clusterTrustDomain(entry.cluster, federationDomain) ||
      entry.trustDomain === authorityTrustDomain(federationDomain)
    ) {
      throw new IsthmusError('corrupt', `A roster gives ${entry.cluster} the trust domain '${entry.trustDomain}'`);
    }
    clusters.set(entry.cluster, entry);
  }
  return {
    federationDomain,
    sequence: parsed.sequence,
    issuedAt: parsed.issuedAt,
    clusters,
    deniedKeyIds: parsed.deniedKeyIds,
  };
}
