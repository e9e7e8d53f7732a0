import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Client } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import { authorityId, clusterTrustDomain, domainId, type TrustDomain } from '../../model/identity.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { MemberHub } from '../../model/trust.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { callUnary, channelCredentials, channelOptions } from '../../runtime/io/grpc-client.ts';
import { ensurePrivateDir } from '../../runtime/io/files.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { type ClusterToken, decodeJoinToken } from '../../wire/join-token.ts';
import { RosterHolder } from '../roster-holder.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import { uriNames } from '../verify/svid-profile.ts';
import { readCertificate } from '../x509/read.ts';
import { type AgentFiles, agentFiles } from './agent-files.ts';
import { type IntermediateResponse, joinMethod, type MemberHubMessage } from './authority-api.ts';
import { peerCheck } from './call-identity.ts';
import { createCsr, generateKeyPem, signerOf } from './keys.ts';
import { fetchPinnedAnchor } from './pinned-anchor.ts';
import { toBase64 } from './state-file.ts';

/** Each step of a join, in ms. */
const stepTimeoutMs = 10_000;

export interface JoinOptions {
  /** As `authority token issue` printed it. */
  readonly token: string;
  readonly stateDir: string;
  readonly replica: ReplicaName;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal?: AbortSignal;
  /** Take the place of the identity that is there, with a token that allows it. */
  readonly rejoin?: boolean;
  /** An offline root has yet to sign: the join goes on asking. Called each time. */
  readonly onPending?: () => void;
}

export interface JoinResult {
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  readonly federationDomain: TrustDomain;
}

/** While an offline root has not signed, it is asked again after so many ms. */
const pendingRetry = { initialMs: 1000, maxMs: 30_000 };

/**
 * Makes this state directory a replica of its cluster's agent. The key is made here and never leaves. A join that was
 * cut short goes on with the same token.
 * @throws IsthmusError `invalid` (bad or expired token), `conflict` (there is an identity already), `unauthenticated`
 * (another root, or the token is used), `denied`, `unavailable`
 */
export async function joinCluster(options: JoinOptions): Promise<JoinResult> {
  const { stateDir, replica, clock, log } = options;
  const token = decodeJoinToken(options.token);
  if (token.kind !== 'cluster') throw new IsthmusError('invalid', 'The token is for a gateway, not for a cluster');
  await ensurePrivateDir(stateDir);
  const files = agentFiles(stateDir);
  await requireRoom(files, token, options);
  const tokenSha256 = createHash('sha256').update(token.secret).digest('hex');
  const begun = await files.joining.read();
  const resumed = begun?.tokenSha256 === tokenSha256 ? begun.keyPem : undefined;
  if (resumed === undefined && token.expiresAt <= clock.now()) {
    throw new IsthmusError('invalid', `The join token expired at ${new Date(token.expiresAt).toISOString()}`, {
      hint: 'Issue a new one, or correct the clock of this machine.',
    });
  }
  const keyPem = resumed ?? generateKeyPem();
  // Before it is asked: the answer may be lost, and the token is good for this key only from then on.
  if (resumed === undefined) await files.joining.write({ version: 1, tokenSha256, keyPem });
  const { response, anchor } = await askUntilSigned(token, { ...options, csr: createCsr(signerOf(keyPem)) });
  const certificate = checkIntermediate(token, { response, keyPem });
  const { cluster, federationDomain, addresses } = token;
  const holder = new RosterHolder({ federationDomain, anchors: [anchor], clock });
  const roster = response.roster ?? { sealed: Buffer.alloc(0), chain: Buffer.alloc(0) };
  const offer = holder.offer(roster.sealed, roster.chain);
  if (offer.result !== 'accepted')
    throw new IsthmusError('corrupt', `The authority's roster does not verify: ${JSON.stringify(offer)}`);
  await files.intermediates.write({ version: 1, active: { certificate: toBase64(certificate), keyPem } });
  await files.roster.write({ version: 1, sealed: toBase64(roster.sealed), chain: toBase64(roster.chain) });
  await files.membership.write({
    version: 1,
    cluster,
    replica,
    federationDomain,
    authorityAddresses: addresses,
    anchors: [toBase64(anchor)],
    ...(response.hub && { hub: hubOf(response.hub) }),
  });
  await rm(files.joining.path, { force: true });
  log.info({ cluster, replica, federationDomain }, 'joined the federation');
  return { cluster, replica, federationDomain };
}

function hubOf({ url, prefix, username, password }: MemberHubMessage): MemberHub {
  return { url, prefix, ...(username !== '' && { username }), ...(password !== '' && { password }) };
}

/** @throws IsthmusError `conflict` if there is an identity that this join may not replace */
async function requireRoom(
  files: AgentFiles,
  token: ClusterToken,
  { rejoin, replica, stateDir }: JoinOptions,
): Promise<void> {
  const existing = await files.membership.read();
  if (!existing) return;
  const same = existing.cluster === token.cluster && existing.replica === replica;
  if (rejoin && same) return;
  throw new IsthmusError(
    'conflict',
    `${stateDir} is replica ${existing.replica} of cluster ${existing.cluster} already`,
    {
      hint: same ? 'Join again with --rejoin if that identity is lost or expired.' : 'Choose another state directory.',
    },
  );
}

async function askUntilSigned(token: ClusterToken, ask: Ask): Promise<Answer> {
  const { clock, signal, onPending } = ask;
  const backoff = new Backoff(pendingRetry, () => clock.random());
  for (;;) {
    const answer = await askInTurn(token, ask);
    if (!answer.response.pending) return answer;
    onPending?.();
    await sleep(clock, backoff.next(), signal);
    if (signal?.aborted) {
      throw new IsthmusError('cancelled', 'The join waits for the signature of the offline root', {
        hint: 'Join again with the same token and state directory: it goes on where it was.',
      });
    }
  }
}

interface Ask extends JoinOptions {
  readonly csr: Uint8Array;
}

interface Answer {
  readonly response: IntermediateResponse;
  readonly anchor: Uint8Array;
}

/** Tries the token's addresses in order; only an unreachable one is a reason to try the next. */
async function askInTurn(token: ClusterToken, ask: Ask): Promise<Answer> {
  let last: unknown = new IsthmusError('unavailable', 'The token names no address');
  for (const address of token.addresses) {
    try {
      return await askOne(token, address, ask);
    } catch (thrown) {
      const { code, message } = IsthmusError.from(thrown);
      if (code !== 'unavailable' && code !== 'timeout') throw thrown;
      ask.log.warn({ address, why: message }, 'authority is not reachable there');
      last = thrown;
    }
  }
  throw last;
}

async function askOne(token: ClusterToken, address: string, ask: Ask): Promise<Answer> {
  const { clock, csr, replica, signal } = ask;
  const { rootSha256, federationDomain, cluster, secret } = token;
  const limits = { timeoutMs: stepTimeoutMs, ...(signal && { signal }) };
  const anchor = await fetchPinnedAnchor({ address, rootSha256, ...limits });
  // From here on the pinned anchor is the only one, and the server must be the authority under it.
  const { base } = new RosterHolder({ federationDomain, anchors: [anchor], clock });
  const authority = authorityId(federationDomain);
  const credentials = channelCredentials({
    material: new Watchable({ anchors: [anchor] }),
    withIdentity: false,
    check: peerCheck(createPeerVerifier(base, clock), authority, (id) => id === authority),
  });
  const client = new Client(address, credentials, channelOptions);
  try {
    const request = { cluster, replica, secret: Buffer.from(secret), csr: Buffer.from(csr) };
    return { response: await callUnary(client, joinMethod, request, limits), anchor };
  } finally {
    client.close();
  }
}

/** That what came back is for our key and our trust domain; the path itself is proved when the roster is used. */
function checkIntermediate(
  { cluster, federationDomain }: ClusterToken,
  { response, keyPem }: { readonly response: IntermediateResponse; readonly keyPem: string },
): Uint8Array {
  const certificate = response.chain[0] ?? Buffer.alloc(0);
  const read = readCertificate(certificate);
  const wanted = domainId(clusterTrustDomain(cluster, federationDomain));
  if (!Buffer.from(read.spki).equals(signerOf(keyPem).spki) || uriNames(read)[0] !== wanted) {
    throw new IsthmusError('corrupt', `The authority answered with a certificate that is not ours (${wanted})`);
  }
  return certificate;
}
