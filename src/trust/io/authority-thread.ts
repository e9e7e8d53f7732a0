import { parentPort, workerData } from 'node:worker_threads';
import { type ErrorCode, IsthmusError } from '../../model/error.ts';
import type { AuditRecord } from '../audit.ts';
import type { IntermediateEntry, StoredState } from '../authority/change.ts';
import { AuthorityStore, type Decision } from './authority-store.ts';

/**
 * The thread in which the authority's state is written: a durable commit takes milliseconds, which the event loop does
 * not have.
 */

/** What the thread can be asked, and what it answers. */
export interface StoreCalls {
  readonly open: { readonly ask: undefined; readonly answer: undefined };
  readonly commit: { readonly ask: readonly Decision[]; readonly answer: void };
  readonly load: { readonly ask: number; readonly answer: StoredState };
  readonly journal: { readonly ask: JournalQuery; readonly answer: readonly AuditRecord[] };
  readonly inventory: { readonly ask: number; readonly answer: readonly IntermediateEntry[] };
  readonly copyTo: { readonly ask: string; readonly answer: void };
  readonly close: { readonly ask: undefined; readonly answer: undefined };
}

/** Records after number `after`, at most `limit`. */
export interface JournalQuery {
  readonly after: number;
  readonly limit: number;
}

export interface StoreRequest {
  readonly id: number;
  readonly call: keyof StoreCalls;
  readonly ask: unknown;
}

export type StoreReply =
  | { readonly id: number; readonly ok: true; readonly answer: unknown }
  | { readonly id: number; readonly ok: false; readonly code: ErrorCode; readonly message: string };

type Handlers = {
  readonly [Call in keyof StoreCalls]: (ask: StoreCalls[Call]['ask']) => StoreCalls[Call]['answer'];
};

let store: AuthorityStore | undefined;

function opened(): AuthorityStore {
  if (store) return store;
  throw new IsthmusError('internal', 'The state is not open');
}

const handlers: Handlers = {
  open: () => {
    store = new AuthorityStore((workerData as { readonly path: string }).path);
  },
  commit: (decisions) => opened().commit(decisions),
  load: (now) => opened().load(now),
  journal: ({ after, limit }) => opened().journal(after, limit),
  inventory: (limit) => opened().inventory(limit),
  copyTo: (path) => opened().copyTo(path),
  close: () => {
    store?.close();
    store = undefined;
    parentPort?.close();
  },
};

parentPort?.on('message', ({ id, call, ask }: StoreRequest) => {
  let reply: StoreReply;
  try {
    // Both ends of the port share the table above, which the port itself does not know.
    reply = { id, ok: true, answer: (handlers[call] as (ask: unknown) => unknown)(ask) };
  } catch (thrown) {
    const { code, message } = IsthmusError.from(thrown);
    reply = { id, ok: false, code, message };
  }
  parentPort?.postMessage(reply);
});
