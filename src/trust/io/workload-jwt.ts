import { createLocalJWKSet, errors, jwtVerify } from 'jose';
import { z } from 'zod';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { Attestation, Attestor } from '../../model/ports/attestor.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { readFileIfPresent } from '../../runtime/io/files.ts';
import { requireWorkloadId } from '../workload/attest.ts';
import { subjectReader } from '../workload/subject.ts';

/** An issuer whose tokens say who a workload is. */
export interface JwtIssuer {
  /** `iss`, compared byte by byte. */
  readonly issuer: string;
  /** Must be among `aud`. One of our own: a token meant for somebody else proves nothing here. */
  readonly audience: string;
  /** JWK Set, as a file or as its value. */
  readonly keys: { readonly file: string } | { readonly jwks: unknown };
  /** How `sub` names the workload, see `subjectReader`. */
  readonly subject: string;
}

export interface JwtAttestorOptions {
  readonly issuers: readonly JwtIssuer[];
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly log: Log;
}

/** Public-key signatures only; `none` and HMAC are never considered. */
const algorithms = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const maxTokenChars = 16_384;
const maxKeyFileBytes = 256 << 10;
/** A file of keys is read again for a key that is not in it, at most this often, in ms. */
const rereadMs = 5000;
/** Clocks of issuers differ by so much, in seconds. */
const clockToleranceS = 30;

const jwkSet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(100) });
type KeySet = ReturnType<typeof createLocalJWKSet>;

/** @throws IsthmusError `invalid` */
function keySetOf(what: string, value: unknown): KeySet {
  const parsed = jwkSet.safeParse(value);
  if (!parsed.success) throw new IsthmusError('invalid', `${what} is no JWK Set: it must have a list 'keys'`);
  const secret = parsed.data.keys.find((key) => key['d'] !== undefined || key['k'] !== undefined);
  if (secret) throw new IsthmusError('invalid', `${what} must hold public keys only: a private one is in it`);
  return createLocalJWKSet(parsed.data);
}

/** The keys of one issuer; those of a file are read again when a token names one that is new. */
class IssuerKeys {
  readonly #issuer: JwtIssuer;
  readonly #clock: Clock;
  #keys: KeySet;
  #readAt: number;

  private constructor(issuer: JwtIssuer, clock: Clock, keys: KeySet) {
    this.#issuer = issuer;
    this.#clock = clock;
    this.#keys = keys;
    this.#readAt = clock.monotonic();
  }

  static async open(issuer: JwtIssuer, clock: Clock): Promise<IssuerKeys> {
    return new IssuerKeys(issuer, clock, await readKeys(issuer));
  }

  get current(): KeySet {
    return this.#keys;
  }

  /** Whether there may be other keys now. @throws IsthmusError `invalid` */
  async reread(): Promise<boolean> {
    const now = this.#clock.monotonic();
    if (!('file' in this.#issuer.keys) || now - this.#readAt < rereadMs) return false;
    this.#readAt = now;
    this.#keys = await readKeys(this.#issuer);
    return true;
  }
}

async function readKeys({ keys, issuer }: JwtIssuer): Promise<KeySet> {
  if ('jwks' in keys) return keySetOf(`The keys of ${issuer}`, keys.jwks);
  const bytes = await readFileIfPresent(keys.file);
  if (!bytes) throw new IsthmusError('invalid', `There is no file ${keys.file} with the keys of ${issuer}`);
  if (bytes.length > maxKeyFileBytes)
    throw new IsthmusError('invalid', `${keys.file} is over ${maxKeyFileBytes} bytes`);
  try {
    return keySetOf(keys.file, JSON.parse(bytes.toString('utf8')));
  } catch (thrown) {
    throw IsthmusError.from(thrown, 'invalid');
  }
}

interface KnownIssuer extends JwtIssuer {
  readonly held: IssuerKeys;
  readonly idOf: ReturnType<typeof subjectReader>;
}

/**
 * Judges bearer tokens (RFC 7519, RFC 8725): signature, issuer, audience, `exp` present and not over, subject of the
 * configured form. Which issuer's keys are used follows from the configured issuers alone.
 * @throws IsthmusError `invalid` for keys that cannot be read
 */
export async function createJwtAttestor(options: JwtAttestorOptions): Promise<Attestor> {
  const { clock, log, trustDomain } = options;
  const issuers = new Map<string, KnownIssuer>();
  for (const issuer of options.issuers) {
    const held = await IssuerKeys.open(issuer, clock);
    issuers.set(issuer.issuer, { ...issuer, held, idOf: subjectReader(issuer.subject, trustDomain) });
  }
  return {
    accepts: ({ bearer }) => bearer !== undefined,
    async attest({ bearer = '' }): Promise<Attestation> {
      const known = issuers.get(claimedIssuer(bearer) ?? '');
      if (!known) throw new IsthmusError('unauthenticated', 'The token is refused: its issuer is not one of ours');
      try {
        return await judge(bearer, known, options);
      } catch (thrown) {
        if (thrown instanceof IsthmusError) throw thrown;
        log.debug({ issuer: known.issuer, why: messageOf(thrown) }, 'a token was refused');
        throw new IsthmusError('unauthenticated', `The token is refused: ${messageOf(thrown)}`, { cause: thrown });
      }
    },
  };
}

/** What a token says of its issuer: good for choosing the keys that then prove it, and for nothing else. */
function claimedIssuer(token: string): string | undefined {
  const [, payload, ...rest] = token.length <= maxTokenChars ? token.split('.') : [];
  if (payload === undefined || rest.length !== 1) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    const { iss } = z.object({ iss: z.string() }).parse(claims);
    return iss;
  } catch {
    // No token of anybody.
    return undefined;
  }
}

async function judge(
  token: string,
  known: KnownIssuer,
  { clock, trustDomain }: JwtAttestorOptions,
): Promise<Attestation> {
  const { issuer, audience, held, idOf } = known;
  const verify = (): ReturnType<typeof jwtVerify> =>
    jwtVerify(token, held.current, {
      issuer,
      audience,
      algorithms,
      requiredClaims: ['exp', 'sub'],
      currentDate: new Date(clock.now()),
      clockTolerance: clockToleranceS,
    });
  let verified: Awaited<ReturnType<typeof verify>>;
  try {
    verified = await verify();
  } catch (thrown) {
    if (!(thrown instanceof errors.JWKSNoMatchingKey) || !(await held.reread())) throw thrown;
    verified = await verify();
  }
  const subject = verified.payload.sub ?? '';
  const id = requireWorkloadId(idOf(subject), trustDomain);
  return { id, kind: 'join', by: `token of ${issuer} for ${subject}` };
}
