/** Bounds of connections that have not proved who they are. */
export interface HandshakeBounds {
  readonly handshakes: number;
  readonly handshakesPerAddress: number;
}

/** One that had to give way, and to which bound. */
export interface GaveWay<Connection> {
  readonly connection: Connection;
  readonly address: string;
  readonly limit: keyof HandshakeBounds;
}

/**
 * Room for connections that have not proved who they are. When it is full the oldest gives way: a peer proves itself
 * in a few round trips, whoever only holds connections open does not, so strangers cannot keep peers out.
 */
export class Handshakes<Connection> {
  readonly #bounds: HandshakeBounds;
  /** By address, each in the order of arrival. */
  readonly #waiting = new Map<string, Set<Connection>>();
  #size = 0;

  constructor(bounds: HandshakeBounds) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#size;
  }

  /** Of the address that has most. */
  get mostOfOneAddress(): number {
    return this.#waiting.get(this.#fullest() ?? '')?.size ?? 0;
  }

  /** @returns the one that must go for it */
  enter(address: string, connection: Connection): GaveWay<Connection> | undefined {
    const own = this.#waiting.get(address) ?? new Set<Connection>();
    const oldest = this.#makeRoom(address, own.size);
    // A set that was emptied has been taken out.
    own.add(connection);
    this.#waiting.set(address, own);
    this.#size += 1;
    return oldest;
  }

  /** It has proved itself or is gone. @returns false: it had to go before */
  leave(address: string, connection: Connection): boolean {
    const own = this.#waiting.get(address);
    if (!own?.delete(connection)) return false;
    this.#size -= 1;
    if (own.size === 0) this.#waiting.delete(address);
    return true;
  }

  #makeRoom(address: string, own: number): GaveWay<Connection> | undefined {
    const { handshakes, handshakesPerAddress } = this.#bounds;
    const limit = own >= handshakesPerAddress ? 'handshakesPerAddress' : 'handshakes';
    if (limit === 'handshakes' && this.#size < handshakes) return undefined;
    const crowded = limit === 'handshakes' ? this.#fullest() : address;
    const [oldest] = (crowded !== undefined && this.#waiting.get(crowded)) || [];
    if (crowded === undefined || oldest === undefined) return undefined;
    this.leave(crowded, oldest);
    return { connection: oldest, address: crowded, limit };
  }

  #fullest(): string | undefined {
    let fullest: string | undefined;
    let most = 0;
    for (const [address, { size }] of this.#waiting) {
      if (size <= most) continue;
      most = size;
      fullest = address;
    }
    return fullest;
  }
}
