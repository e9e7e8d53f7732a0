import {
  clusterTrustDomain,
  domainId,
  parseSpiffeId,
  parseTrustDomain,
  type TrustDomain,
} from '../../../src/model/identity.ts';
import { type ClusterName, parseClusterName } from '../../../src/model/names.ts';
import type { Roster, RosterEntry, Svid, TrustState } from '../../../src/model/trust.ts';
import { type Issuer, issue, issueRoot, issuerOf } from '../../../src/trust/io/issuer.ts';
import { generateKeyPem, signerOf } from '../../../src/trust/io/keys.ts';
import { trustStateOf } from '../../../src/trust/verify/trust-state.ts';
import { caName } from '../../../src/trust/x509/certificate.ts';
import type { ProfileName } from '../../../src/trust/x509/profiles.ts';

export const federationDomain: TrustDomain = parseTrustDomain('mesh.example');
/** Whole seconds, so that lives are easy to compute with. */
export const now: number = Math.floor(Date.now() / 1000) * 1000;

export const a: ClusterName = parseClusterName('a');
export const b: ClusterName = parseClusterName('b');
export const domainOf = (cluster: ClusterName): TrustDomain => clusterTrustDomain(cluster, federationDomain);

export interface LeafSpec {
  readonly id: string;
  readonly profile?: Exclude<ProfileName, 'root'>;
  readonly lifeMs?: number;
  readonly at?: number;
}

/** A leaf with its key; chain without the anchor. */
export function leaf(issuer: Issuer, spec: LeafSpec): Svid {
  const keyPem = generateKeyPem();
  const { id, profile = 'leaf', lifeMs, at = now } = spec;
  const uri = parseSpiffeId(id);
  const issued = issue(issuer, {
    profile,
    uri,
    spki: signerOf(keyPem).spki,
    now: at,
    ...(lifeMs !== undefined && { lifeMs }),
  });
  const chain = roots.has(issuer) ? [issued.certificate] : [issued.certificate, issuer.certificate];
  return { id: uri, chain, keyPem, notBefore: issued.notBefore, notAfter: issued.notAfter };
}

const roots = new WeakSet<Issuer>();

export function newRoot(): Issuer {
  const root = issueRoot(federationDomain, signerOf(generateKeyPem()), now);
  roots.add(root);
  return root;
}

export function newIntermediate(root: Issuer, cluster: ClusterName, nameConstraints: boolean = true): Issuer {
  const signer = signerOf(generateKeyPem());
  const domain = domainOf(cluster);
  const issued = issue(root, {
    profile: 'intermediate',
    uri: domainId(domain),
    subject: caName(federationDomain, cluster, signer.keyId),
    spki: signer.spki,
    now,
    ...(nameConstraints && { permitted: domain }),
  });
  return issuerOf(issued.certificate, signer);
}

export function entryOf(cluster: ClusterName, intermediates: readonly Issuer[]): RosterEntry {
  return {
    cluster,
    trustDomain: domainOf(cluster),
    state: 'active',
    caKeyIds: intermediates.map(({ signer }) => signer.keyId),
    labels: {},
    exportable: ['*/*'],
  };
}

export function rosterOf(entries: readonly RosterEntry[], changes: Partial<Roster> = {}): Roster {
  return {
    federationDomain,
    sequence: 1,
    issuedAt: now,
    clusters: new Map(entries.map((entry) => [entry.cluster, entry])),
    deniedKeyIds: [],
    ...changes,
  };
}

/** Root, one intermediate each of clusters a and b, and the trust that follows. */
export function newFederation(nameConstraints: boolean = true): {
  readonly root: Issuer;
  readonly ofA: Issuer;
  readonly ofB: Issuer;
  readonly trust: TrustState;
  readonly trustWith: (change: (entry: RosterEntry) => RosterEntry, changes?: Partial<Roster>) => TrustState;
} {
  const root = newRoot();
  const ofA = newIntermediate(root, a, nameConstraints);
  const ofB = newIntermediate(root, b, nameConstraints);
  const entries = [entryOf(a, [ofA]), entryOf(b, [ofB])];
  return {
    root,
    ofA,
    ofB,
    trust: trustStateOf(rosterOf(entries), [root.certificate]),
    trustWith: (change, changes = {}) => trustStateOf(rosterOf(entries.map(change), changes), [root.certificate]),
  };
}
