import { IsthmusError } from '../../model/error.ts';
import { clusterTrustDomain, domainId, type SpiffeId } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { PendingRow } from '../../model/trust-report.ts';
import { checkIssued } from '../authority/anchor-check.ts';
import type { PendingEntry } from '../authority/change.ts';
import {
  decodeSigningResponse,
  encodeSigningRequest,
  type SigningItem,
  signingFileHash,
} from '../authority/signing-files.ts';
import { parseCsr } from '../x509/csr.ts';
import { keyIdOf } from '../x509/certificate.ts';
import { fingerprintOf, readCertificate } from '../x509/read.ts';
import type { AuthorityIssuance } from './authority-issuance.ts';
import type { AuthorityKeys, IdentityKind } from './authority-keys.ts';
import type { AuthorityLedger, Ruling } from './authority-ledger.ts';

export interface OfflineRootOptions {
  readonly keys: AuthorityKeys;
  readonly issuance: AuthorityIssuance;
  readonly ledger: AuthorityLedger;
  readonly nameConstraints: boolean;
  readonly clock: Pick<Clock, 'now'>;
}

/** A request file, and how people recognise it on the other side. */
export interface SignRequest {
  readonly file: Uint8Array;
  readonly sha256: string;
  readonly items: number;
}

/** What became of a response file. */
export interface ImportResult {
  /** Ids and subjects that got their certificate. */
  readonly accepted: readonly string[];
  /** Certificates that nothing waits for any more. */
  readonly unknown: number;
}

/** The authority's side of a root that signs by file. */
export class OfflineRoot {
  readonly #options: OfflineRootOptions;

  constructor(options: OfflineRootOptions) {
    this.#options = options;
  }

  /** Everything that waits for the root's signature. */
  async pending(): Promise<readonly PendingRow[]> {
    const { keys, ledger, clock } = this.#options;
    if (keys.root) return [];
    const own = await keys.requests(clock.now());
    return [
      ...own.map(({ kind, id, spki }) => ({
        keyId: keyIdOf(spki),
        subject: id,
        kind: kind === 'tls' ? ('authority' as const) : kind,
        requestedAt: clock.now(),
        who: 'the authority itself',
      })),
      ...ledger.book.allPending().map(({ keyId, cluster, replica, kind, requestedAt, who }) => ({
        keyId,
        subject: `${cluster}/${replica}`,
        kind,
        requestedAt,
        who,
      })),
    ];
  }

  /** Puts all of it into one file. @throws IsthmusError `conflict` if the root is here, or nothing waits */
  async request(who: string): Promise<SignRequest> {
    const { keys, ledger, nameConstraints, clock } = this.#options;
    if (keys.root) throw new IsthmusError('conflict', 'The root key is here: nothing has to be signed elsewhere');
    const own = await keys.requests(clock.now());
    const items: SigningItem[] = [
      ...own.map(({ kind, csr }) => ({ kind: kind === 'tls' ? ('authority' as const) : kind, csr })),
      ...ledger.book.allPending().map(({ cluster, replica, csr }) => ({
        kind: 'intermediate' as const,
        cluster,
        replica,
        csr,
      })),
    ];
    if (items.length === 0) throw new IsthmusError('conflict', 'Nothing waits for the signature of the root');
    const file = encodeSigningRequest({
      federationDomain: keys.federationDomain,
      anchorSha256: fingerprintOf(keys.anchor),
      nameConstraints,
      createdAt: clock.now(),
      items,
    });
    const sha256 = signingFileHash(file);
    const detail = `${items.length} certificates, sha256 ${sha256}`;
    await ledger.decide({ entries: [{ who, what: 'sign-request', subject: keys.federationDomain, detail }] });
    return { file, sha256, items: items.length };
  }

  /**
   * Takes what the root has signed. All of it is checked before any of it counts.
   * @throws IsthmusError `invalid`, naming the certificate and the rule
   */
  async accept(file: Uint8Array, who: string): Promise<ImportResult> {
    const { keys, ledger, clock } = this.#options;
    const { federationDomain, anchor } = keys;
    const response = decodeSigningResponse(file);
    if (response.federationDomain !== federationDomain || response.anchorSha256 !== fingerprintOf(anchor)) {
      const theirs = `${response.federationDomain} by ${response.anchorSha256}`;
      throw new IsthmusError('invalid', `The response is for ${theirs}, not ${federationDomain} by this anchor`);
    }
    const own = await keys.requests(clock.now());
    const found = response.certificates.map((der) => ({ der, keyId: keyIdOf(readCertificate(der).spki) }));
    const identities = found.flatMap(({ der, keyId }) =>
      own.filter(({ spki }) => keyIdOf(spki) === keyId).map(({ kind, id, spki }) => ({ kind, id, spki, der })),
    );
    const issued = found.flatMap(({ der, keyId }) => {
      const pending = ledger.book.pending(keyId);
      return pending ? [{ pending, der }] : [];
    });
    for (const { kind, id, spki, der } of identities) this.#checkIdentity(kind, { id, spki, der });
    const rulings = issued.map(({ pending, der }) => this.#ruling(pending, der));
    for (const { kind, der } of identities) await keys.accept(kind, der, clock.now());
    const accepted = [...identities.map(({ id }) => id), ...issued.map(({ pending }) => subjectOf(pending))];
    const unknown = found.length - accepted.length;
    const detail = `${accepted.length} certificates, ${unknown} unknown, sha256 ${signingFileHash(file)}`;
    await ledger.decide(
      {
        changes: rulings.flatMap(({ changes = [] }) => changes),
        entries: [
          { who, what: 'import-response', subject: federationDomain, detail },
          ...rulings.flatMap(({ entries }) => entries),
        ],
      },
      'published',
    );
    return { accepted, unknown };
  }

  #checkIdentity(kind: IdentityKind, { id, spki, der }: { id: SpiffeId; spki: Uint8Array; der: Uint8Array }): void {
    const { keys, clock } = this.#options;
    const profile = kind === 'tls' ? 'authority' : 'seal';
    checkIssued(der, { profile, uri: id, spki, permitted: undefined, anchor: keys.anchor, now: clock.now() });
  }

  #ruling(pending: PendingEntry, der: Uint8Array): Ruling {
    const { keys, issuance, nameConstraints, clock } = this.#options;
    const trustDomain = clusterTrustDomain(pending.cluster, keys.federationDomain);
    const { serial, notAfter } = checkIssued(der, {
      profile: 'intermediate',
      uri: domainId(trustDomain),
      spki: parseCsr(pending.csr).spki,
      permitted: nameConstraints ? trustDomain : undefined,
      anchor: keys.anchor,
      now: clock.now(),
    });
    const { changes, entries } = issuance.recordIssued(pending, { certificate: der, serial, notAfter });
    return { changes: [...changes, { type: 'settled', keyId: pending.keyId }], entries };
  }
}

function subjectOf({ cluster, replica }: PendingEntry): string {
  return `${cluster}/${replica}`;
}
