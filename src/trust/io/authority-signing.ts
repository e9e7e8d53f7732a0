import { IsthmusError } from '../../model/error.ts';
import { authorityId, clusterTrustDomain, domainId, type TrustDomain } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import {
  decodeSigningRequest,
  encodeSigningResponse,
  type SigningItem,
  signingFileHash,
} from '../authority/signing-files.ts';
import type { AuditEntry } from '../audit.ts';
import { authoritySealId } from '../verify/seal-id.ts';
import { caName, keyIdOf } from '../x509/certificate.ts';
import { parseCsr } from '../x509/csr.ts';
import { fingerprintOf } from '../x509/read.ts';
import { authorityFiles } from './authority-files.ts';
import { openAuthorityKeys } from './authority-keys.ts';
import { AuthorityStore } from './authority-store.ts';
import { type Issued, type Issuer, issue, type IssueRequest } from './issuer.ts';

export interface SignOfflineOptions {
  /** Of the machine that has the root key; made by `initAuthority`. */
  readonly stateDir: string;
  readonly passphraseFile?: string;
  /** The request file. */
  readonly request: Uint8Array;
  readonly clock: Pick<Clock, 'now'>;
}

/** What an offline root has signed. */
export interface SignedOffline {
  /** The response file. */
  readonly response: Uint8Array;
  readonly requestSha256: string;
  /** One line each, for the person at the machine. */
  readonly subjects: readonly string[];
}

/** One item, judged: what will be signed. */
interface Order extends IssueRequest {
  readonly label: string;
}

/**
 * Signs a request file with the root of a state directory, and writes down there what it signed. Nothing of the requests
 * but their keys is used: names, lives and constraints follow from the kind.
 * @throws IsthmusError `invalid` if anything of the file is not right: then nothing is signed
 */
export async function signOffline(options: SignOfflineOptions): Promise<SignedOffline> {
  const { stateDir, request: file, clock } = options;
  const keys = await openAuthorityKeys(stateDir, options.passphraseFile);
  const { root, federationDomain } = keys;
  if (!root) throw new IsthmusError('not-found', `${stateDir} has no root key`);
  const request = decodeSigningRequest(file);
  const anchorSha256 = fingerprintOf(root.certificate);
  if (request.federationDomain !== federationDomain || request.anchorSha256 !== anchorSha256) {
    throw new IsthmusError(
      'invalid',
      `The request is for ${request.federationDomain} and root ${request.anchorSha256}: this is ${federationDomain} and root ${anchorSha256}`,
    );
  }
  const { nameConstraints } = request;
  const orders = judge(request.items, { root, federationDomain, nameConstraints, now: clock.now() });
  const requestSha256 = signingFileHash(file);
  const store = new AuthorityStore(authorityFiles(stateDir).database);
  try {
    const signed = orders.map((order) => ({ order, issued: issue(root, order) }));
    const who = `sign-request ${requestSha256}`;
    // First the journal, then the certificates: there is none that the root's owner does not know of.
    store.commit([{ changes: [], entries: signed.map(({ order, issued }) => entryOf({ order, issued, who, clock })) }]);
    const certificates = signed.map(({ issued }) => issued.certificate);
    return {
      response: encodeSigningResponse({ federationDomain, anchorSha256, requestSha256, certificates }),
      requestSha256,
      subjects: orders.map(({ label, spki }) => `${label}  key ${keyIdOf(spki)}`),
    };
  } finally {
    store.close();
  }
}

function entryOf(of: { order: Order; issued: Issued; who: string; clock: Pick<Clock, 'now'> }): AuditEntry {
  const { order, issued, who, clock } = of;
  const until = new Date(issued.notAfter).toISOString();
  const detail = `key ${keyIdOf(order.spki)}, serial ${issued.serial}, until ${until}, sha256 ${fingerprintOf(issued.certificate)}`;
  const what = order.profile === 'intermediate' ? 'issue-intermediate' : 'renew-identity';
  return { at: clock.now(), who, what, subject: order.label, detail };
}

interface JudgeContext {
  readonly root: Issuer;
  readonly federationDomain: TrustDomain;
  readonly nameConstraints: boolean;
  readonly now: number;
}

function judge(items: readonly SigningItem[], context: JudgeContext): readonly Order[] {
  const orders = items.map((item, index) => {
    try {
      return orderOf(item, context);
    } catch (thrown) {
      const { message } = IsthmusError.from(thrown);
      throw new IsthmusError('invalid', `Request ${index + 1} of ${items.length}: ${message}`, { cause: thrown });
    }
  });
  const keyIds = orders.map(({ spki }) => keyIdOf(spki));
  const twice = keyIds.find((keyId, index) => keyIds.indexOf(keyId) !== index);
  if (twice !== undefined) throw new IsthmusError('invalid', `Key ${twice} stands twice in the request`);
  if (keyIds.includes(context.root.signer.keyId)) throw new IsthmusError('invalid', `The request has the root's key`);
  return orders;
}

function orderOf(item: SigningItem, { federationDomain, nameConstraints, now }: JudgeContext): Order {
  const { spki, keyType } = parseCsr(item.csr);
  if (keyType !== 'p256') throw new IsthmusError('invalid', `its key must be p256: it is ${keyType}`);
  if (item.kind === 'intermediate') {
    const trustDomain = clusterTrustDomain(item.cluster, federationDomain);
    return {
      profile: 'intermediate',
      uri: domainId(trustDomain),
      subject: caName(federationDomain, item.cluster, keyIdOf(spki)),
      spki,
      now,
      label: `${item.cluster}/${item.replica}`,
      ...(nameConstraints && { permitted: trustDomain }),
    };
  }
  const uri = item.kind === 'authority' ? authorityId(federationDomain) : authoritySealId(federationDomain);
  return { profile: item.kind, uri, spki, now, label: uri };
}
