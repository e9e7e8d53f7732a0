/** Connections from one address that have not proved who they are; a cluster behind one address has some ten. */
const maxPerAddress = 64;
/** The same from all addresses. */
const maxTotal = 1024;

/**
 * Room for connections that have not proved who they are. When it is full the oldest gives way: a peer proves itself
 * in a few round trips, whoever only holds connections open does not, so strangers cannot keep peers out.
 */
export class Handshakes<Connection> {
  /** By address, each in the order of arrival. */
  readonly #waiting = new Map<string, Set<Connection>>();
  #size = 0;

  /** @returns the one that must go for it */
  enter(address: string, connection: Connection): Connection | undefined {
    const own = this.#waiting.get(address) ?? new Set<Connection>();
    const crowded = own.size >= maxPerAddress ? address : this.#size >= maxTotal ? this.#fullest() : undefined;
    const [oldest] = (crowded !== undefined && this.#waiting.get(crowded)) || [];
    if (crowded !== undefined && oldest !== undefined) this.leave(crowded, oldest);
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
