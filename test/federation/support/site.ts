import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Publisher, type PublisherOptions, startPublisher } from '../../../src/federation/io/publisher.ts';
import { type Reader, type ReaderOptions, startReader } from '../../../src/federation/io/reader.ts';
import type { ClusterName } from '../../../src/model/names.ts';
import type { Hub } from '../../../src/model/ports/hub.ts';
import type { Sealer } from '../../../src/model/ports/seal.ts';
import type { TrustState } from '../../../src/model/trust.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { Watchable } from '../../../src/runtime/watchable.ts';
import { east, entryOf, quietLog, south, tempDir, trustOf, west } from './federation.ts';
import { domainOf, TestSeals } from './seals.ts';

/** A federation of three on one hub: starts publishers and readers, and ends them all. */
export class Site implements AsyncDisposable {
  readonly seals: TestSeals = new TestSeals();
  readonly trust: Watchable<TrustState | undefined> = new Watchable<TrustState | undefined>(
    trustOf(entryOf(east), entryOf(west), entryOf(south)),
  );
  readonly warnings: { readonly fields: object; readonly message: string }[] = [];
  readonly hub: Hub;
  readonly #dir: Awaited<ReturnType<typeof tempDir>>;
  readonly #open = new Set<{ close(): Promise<void> }>();

  private constructor(hub: Hub, dir: Awaited<ReturnType<typeof tempDir>>) {
    this.hub = hub;
    this.#dir = dir;
  }

  static async on(hub: Hub): Promise<Site> {
    return new Site(hub, await tempDir());
  }

  /** Private directory of that name, the same one each time. */
  async dir(name: string): Promise<string> {
    const path = join(this.#dir.path, name);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }

  sealerOf(cluster: ClusterName): Watchable<Sealer | undefined> {
    return new Watchable<Sealer | undefined>(this.seals.sealer(cluster));
  }

  async publisher(cluster: ClusterName, change: Partial<PublisherOptions> = {}): Promise<Publisher> {
    const publisher = await startPublisher({
      hub: this.hub,
      cluster,
      trustDomain: domainOf(cluster),
      sealer: this.sealerOf(cluster),
      verifier: this.seals.verifier(),
      stateDir: await this.dir(`${cluster}-agent`),
      clock: systemClock,
      log: quietLog(this.warnings),
      leaseMs: 50,
      backoff: { initialMs: 5, maxMs: 50 },
      ...change,
    });
    this.#open.add(publisher);
    return publisher;
  }

  async reader(self: ClusterName, change: Partial<ReaderOptions> = {}): Promise<Reader> {
    const reader = await startReader({
      hub: this.hub,
      self,
      trust: this.trust,
      verifier: this.seals.verifier(),
      stateDir: await this.dir(`${self}-agent`),
      clock: systemClock,
      log: quietLog(this.warnings),
      pollMs: 60,
      ...change,
    });
    this.#open.add(reader);
    return reader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#open].map((one) => one.close()));
    await this.hub.close();
    await this.#dir[Symbol.asyncDispose]();
  }
}
