import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { IsthmusError } from '../../model/error.ts';
import type { AuditRecord } from '../audit.ts';
import type { IntermediateEntry, StoredState } from '../authority/change.ts';
import type { Decision } from './authority-store.ts';
import type { JournalQuery, StoreCalls, StoreReply, StoreRequest } from './authority-thread.ts';

/** Decisions that may wait for the disk; with more, new ones are refused. */
const maxWaiting = 4096;

export interface AuthorityWriterOptions {
  readonly path: string;
  /** Decisions could not be written: memory is ahead of the disk. Called before anyone is told. */
  readonly onLost: () => void;
}

interface Call {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: IsthmusError) => void;
}

interface Waiting {
  readonly decision: Decision;
  readonly resolve: () => void;
  readonly reject: (error: IsthmusError) => void;
}

/**
 * Writes decisions in groups: those that come while the disk is busy share the next commit and its fsync, so that a
 * decision waits for at most two commits. A decision that was resolved is durable.
 */
export class AuthorityWriter {
  readonly #worker: Worker;
  readonly #calls = new Map<number, Call>();
  readonly #gone: Promise<void>;
  readonly #onLost: () => void;
  #nextId = 1;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #failure: IsthmusError | undefined;

  private constructor({ path, onLost }: AuthorityWriterOptions) {
    this.#onLost = onLost;
    // `.ts` as source, `.js` once compiled.
    const thread = new URL(`./authority-thread${extname(import.meta.url)}`, import.meta.url);
    this.#worker = new Worker(thread, { workerData: { path }, name: 'isthmus-authority-state' });
    this.#worker.on('message', (reply: StoreReply) => this.#answered(reply));
    this.#worker.on('error', (cause) => {
      this.#fail(new IsthmusError('internal', 'The thread that writes the state has failed', { cause }));
    });
    this.#gone = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#fail(new IsthmusError('unavailable', 'The state is closed'));
        resolve();
      });
    });
  }

  /** @throws IsthmusError `conflict` if another process uses the file, `corrupt` if it is of another version */
  static async open(options: AuthorityWriterOptions): Promise<AuthorityWriter> {
    const writer = new AuthorityWriter(options);
    try {
      await writer.#call('open', undefined);
    } catch (thrown) {
      await writer.close();
      throw thrown;
    }
    return writer;
  }

  /**
   * Resolves when the decision is on disk. After a rejection with `unavailable` neither it nor any decision that was
   * waiting has happened: memory has to be loaded anew.
   * @throws IsthmusError `unavailable`, `exhausted`
   */
  commit(decision: Decision): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#waiting.length >= maxWaiting) {
      return Promise.reject(new IsthmusError('exhausted', `${maxWaiting} decisions wait for the disk already`));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ decision, resolve, reject });
      // Not at once: what the same turn of the event loop decides goes into one group.
      this.#writing ??= new Promise((done) => setImmediate(() => done(this.#writeGroups())));
    });
  }

  load(now: number): Promise<StoredState> {
    return this.#call('load', now);
  }

  journal(query: JournalQuery): Promise<readonly AuditRecord[]> {
    return this.#call('journal', query);
  }

  inventory(limit: number): Promise<readonly IntermediateEntry[]> {
    return this.#call('inventory', limit);
  }

  /** @throws IsthmusError `unavailable` */
  async copyTo(path: string): Promise<void> {
    await this.#call('copyTo', path);
  }

  /** Writes what waits, then ends the thread. */
  async close(): Promise<void> {
    await this.#writing;
    if (!this.#failure) await this.#call('close', undefined).catch(() => undefined);
    await this.#gone;
  }

  async #writeGroups(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      try {
        await this.#call(
          'commit',
          group.map(({ decision }) => decision),
        );
        for (const { resolve } of group) resolve();
      } catch (thrown) {
        // What waited was decided on top of what has just failed.
        const failed = [...group, ...this.#waiting];
        this.#waiting = [];
        this.#onLost();
        for (const { reject } of failed) reject(IsthmusError.from(thrown));
      }
    }
    this.#writing = undefined;
  }

  #call<Name extends keyof StoreCalls>(call: Name, ask: StoreCalls[Name]['ask']): Promise<StoreCalls[Name]['answer']> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    const request: StoreRequest = { id, call, ask };
    return new Promise<unknown>((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage(request);
    }) as Promise<StoreCalls[Name]['answer']>;
  }

  #answered(reply: StoreReply): void {
    const call = this.#calls.get(reply.id);
    this.#calls.delete(reply.id);
    if (reply.ok) call?.resolve(reply.answer);
    else call?.reject(new IsthmusError(reply.code, reply.message));
  }

  #fail(error: IsthmusError): void {
    this.#failure ??= error;
    for (const { reject } of this.#calls.values()) reject(this.#failure);
    this.#calls.clear();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}
