import { createHash, randomBytes } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import type { ReplicaName } from '../../model/names.ts';
import type { GatewayTokenEntry, StoredGatewayTokens } from './agent-files.ts';
import type { StateFile } from './state-file.ts';

/** Longest life of a token in ms, and the default. */
const maxGatewayTokenTtlMs = 15 * 60_000;
const maxTokens = 1000;

/** Invitations of gateways: only hashes are kept, each works once. */
export class GatewayTokens {
  readonly #file: StateFile<StoredGatewayTokens>;
  readonly #tokens: Map<string, GatewayTokenEntry>;

  private constructor(file: StateFile<StoredGatewayTokens>, tokens: readonly GatewayTokenEntry[]) {
    this.#file = file;
    this.#tokens = new Map(tokens.map((token) => [token.hash, token]));
  }

  static async open(file: StateFile<StoredGatewayTokens>): Promise<GatewayTokens> {
    return new GatewayTokens(file, (await file.read())?.tokens ?? []);
  }

  /** A new secret for `gateway`. @throws IsthmusError `invalid`, `exhausted` */
  async issue(gateway: ReplicaName, now: number, ttlMs: number = maxGatewayTokenTtlMs): Promise<NewGatewayToken> {
    if (!(ttlMs > 0 && ttlMs <= maxGatewayTokenTtlMs)) {
      const range = `1 to ${maxGatewayTokenTtlMs} ms`;
      throw new IsthmusError('invalid', `A gateway's token must live ${range}: current value is ${ttlMs}`);
    }
    for (const token of this.#tokens.values()) if (token.expiresAt <= now) this.#tokens.delete(token.hash);
    if (this.#tokens.size >= maxTokens) {
      throw new IsthmusError('exhausted', `${maxTokens} tokens of gateways wait already: let some expire`);
    }
    const secret = randomBytes(32);
    const expiresAt = now + ttlMs;
    const hash = hashOf(secret);
    this.#tokens.set(hash, { hash, gateway, expiresAt, used: false });
    await this.#save();
    return { secret, expiresAt };
  }

  /** The gateway that a secret is for. @throws IsthmusError `unauthenticated` (unknown, used, expired) */
  gatewayOf(secret: Uint8Array, now: number): ReplicaName {
    return this.#usable(secret, now).gateway;
  }

  /**
   * Uses a secret up, durably before it returns.
   * @throws IsthmusError `unauthenticated` (unknown, used, expired)
   */
  async consume(secret: Uint8Array, now: number): Promise<void> {
    const token = this.#usable(secret, now);
    // Marked before anything is awaited: of parallel callers exactly one gets this far.
    this.#tokens.set(token.hash, { ...token, used: true });
    await this.#save();
  }

  #usable(secret: Uint8Array, now: number): GatewayTokenEntry {
    const token = this.#tokens.get(hashOf(secret));
    if (!token) throw new IsthmusError('unauthenticated', "The gateway's token is unknown");
    if (token.used) throw new IsthmusError('unauthenticated', "The gateway's token was used already");
    if (token.expiresAt <= now) throw new IsthmusError('unauthenticated', "The gateway's token expired");
    return token;
  }

  #save(): Promise<void> {
    return this.#file.write({ version: 1, tokens: [...this.#tokens.values()] });
  }
}

export interface NewGatewayToken {
  readonly secret: Uint8Array;
  /** Wall clock in ms. */
  readonly expiresAt: number;
}

function hashOf(secret: Uint8Array): string {
  return createHash('sha256').update(secret).digest('hex');
}
