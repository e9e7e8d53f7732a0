import { declaredProtocol } from '../../../model/protocol.ts';
import type { H2SessionsOptions } from './h2-sessions.ts';
import { H2Sessions } from './h2-sessions.ts';
import type { Seats } from './h2-channel.ts';
import { H1Channels } from './h2-to-h1.ts';
import type { HttpPort, HttpPorts } from './ports.ts';

type Pool = Seats & Pick<H2Sessions, 'size' | 'sweep' | 'close'>;

/**
 * Ways to the upstreams of every service port for requests that came over HTTP/2. What the upstream speaks is what its
 * port says: HTTP/1.1 behind `http`, so that such requests are translated; behind every other one HTTP/2 by prior
 * knowledge, as the client has it.
 */
export class H2Seats {
  readonly #ports: HttpPorts;
  readonly #options: H2SessionsOptions;
  readonly #pools = new Map<HttpPort, Pool>();

  constructor(ports: HttpPorts, options: H2SessionsOptions) {
    this.#ports = ports;
    this.#options = options;
  }

  /** Connections to upstreams that have not ended. */
  get size(): number {
    let sum = 0;
    for (const pool of this.#pools.values()) sum += pool.size;
    return sum;
  }

  of(port: HttpPort): Seats {
    let pool = this.#pools.get(port);
    if (!pool) this.#pools.set(port, (pool = this.#make(port)));
    return pool;
  }

  /** Call about once a second. `now`: monotonic ms. */
  sweep(now: number): void {
    for (const [port, pool] of this.#pools) {
      const { entry } = port;
      const gone = this.#ports.get(entry.route.key, port.port) !== port;
      pool.sweep(now, (place) => !gone && port.serves(place));
      if (gone && pool.size === 0) this.#pools.delete(port);
    }
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
  }

  #make({ entry, port }: HttpPort): Pool {
    const spoken = entry.route.ports.find((one) => one.port === port);
    const translated = spoken && declaredProtocol(spoken) === 'http';
    return translated ? new H1Channels(entry, this.#options) : new H2Sessions(entry, this.#options);
  }
}
