import { chmodSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { IsthmusError, messageOf } from '../../model/error.ts';
import { type AuditEntry, type AuditRecord, type AuditStart, auditBeginning, auditRecord } from '../audit.ts';
import type { Change, IntermediateEntry, StoredState } from '../authority/change.ts';
import {
  integer,
  readIntermediate,
  readMember,
  readPending,
  readToken,
  type Row,
  text,
  blob,
} from './authority-rows.ts';

/** Raised with every change of the tables; an unknown version is refused. */
const schemaVersion = 2;

const schema = `
CREATE TABLE IF NOT EXISTS tokens (
  hash TEXT PRIMARY KEY, cluster TEXT NOT NULL, rejoin INTEGER NOT NULL, admission TEXT NOT NULL,
  issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, used_by TEXT, revoked INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS members (
  cluster TEXT PRIMARY KEY, trust_domain TEXT NOT NULL UNIQUE, state TEXT NOT NULL, admission TEXT NOT NULL,
  joined_at INTEGER NOT NULL, left_at INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS intermediates (
  key_id TEXT PRIMARY KEY, cluster TEXT NOT NULL REFERENCES members (cluster), replica TEXT NOT NULL,
  serial TEXT NOT NULL, issued_at INTEGER NOT NULL, not_after INTEGER NOT NULL, certificate BLOB NOT NULL,
  retired INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS denied (key_id TEXT PRIMARY KEY, why TEXT NOT NULL, until INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS pending (
  key_id TEXT PRIMARY KEY, kind TEXT NOT NULL, cluster TEXT NOT NULL, replica TEXT NOT NULL, csr BLOB NOT NULL,
  requested_at INTEGER NOT NULL, who TEXT NOT NULL, rejoin INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS roster (
  id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, payload BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS journal (
  sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
  detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
`;

/** The log is folded into the database when it has grown to so many pages of 4 KiB. */
const checkpointPages = 4096;

type Value = string | number | Uint8Array | null;

/** What one decision changes, and what the journal says of it. */
export interface Decision {
  readonly changes: readonly Change[];
  readonly entries: readonly AuditEntry[];
}

/**
 * The authority's state in SQLite (WAL, full sync, one process at a time). Everything is synchronous and takes its time:
 * it belongs into a thread of its own.
 */
export class AuthorityStore {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #statements = new Map<string, StatementSync>();
  #last: AuditStart = auditBeginning;

  /** @throws IsthmusError `conflict` if another process uses the file, `corrupt` if it is of another version */
  constructor(path: string) {
    this.#path = path;
    this.#db = new DatabaseSync(path, { timeout: 500, enableForeignKeyConstraints: true });
    try {
      this.#db.exec(
        `PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = ${checkpointPages};`,
      );
      // Takes the exclusive lock now rather than at the first decision.
      this.#db.exec('BEGIN IMMEDIATE; COMMIT;');
      chmodSync(path, 0o600);
    } catch (cause) {
      this.#db.close();
      throw new IsthmusError('conflict', `Cannot open ${path}: another authority may be using it`, { cause });
    }
    this.#openSchema();
    this.#readLast();
  }

  #openSchema(): void {
    const version = integer(this.#one('PRAGMA user_version') ?? {}, 'user_version');
    if (version === 0) {
      this.#db.exec(`BEGIN IMMEDIATE; ${schema} PRAGMA user_version = ${schemaVersion}; COMMIT;`);
    } else if (version !== schemaVersion) {
      this.#db.close();
      throw new IsthmusError('corrupt', `${this.#path} has version ${version}, this program knows ${schemaVersion}`);
    }
  }

  close(): void {
    this.#db.close();
  }

  /**
   * Makes all of these decisions durable, or none.
   * @throws IsthmusError `unavailable` when the disk does not take them
   */
  commit(decisions: readonly Decision[]): void {
    const before = this.#last;
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      for (const { changes, entries } of decisions) {
        for (const change of changes) this.#apply(change);
        for (const entry of entries) this.#append(entry);
      }
      this.#db.exec('COMMIT');
    } catch (cause) {
      this.#last = before;
      this.#rollBack();
      throw new IsthmusError('unavailable', `Cannot write ${this.#path}: ${messageOf(cause)}`, { cause });
    }
  }

  #rollBack(): void {
    try {
      this.#db.exec('ROLLBACK');
    } catch {
      // SQLite has undone it already: a full disk ends a transaction by itself.
    }
  }

  /** Everything that decisions need. `now`: wall clock in ms. */
  load(now: number): StoredState {
    const roster = this.#one('SELECT sequence, payload FROM roster WHERE id = 1');
    const at = this.#one('SELECT at FROM journal ORDER BY sequence DESC LIMIT 1')?.['at'];
    return {
      tokens: this.#all('SELECT * FROM tokens').map(readToken),
      members: this.#all('SELECT * FROM members ORDER BY cluster').map(readMember),
      intermediates: this.#all('SELECT * FROM intermediates WHERE retired = 0 AND not_after > ?', now).map(
        readIntermediate,
      ),
      usedKeyIds: this.#all('SELECT key_id FROM intermediates').map((row) => text(row, 'key_id')),
      denied: this.#all('SELECT * FROM denied').map((row) => ({
        keyId: text(row, 'key_id'),
        why: text(row, 'why'),
        until: integer(row, 'until'),
      })),
      pending: this.#all('SELECT * FROM pending ORDER BY requested_at').map(readPending),
      roster:
        roster && roster['payload'] !== null
          ? { sequence: integer(roster, 'sequence'), payload: blob(roster, 'payload') }
          : undefined,
      rosterFloor: roster && roster['payload'] === null ? integer(roster, 'sequence') : 0,
      journal: { records: this.#last.sequence, head: this.#last.hash, lastAt: typeof at === 'number' ? at : 0 },
    };
  }

  /** Records after number `after`, oldest first, at most `limit`. */
  journal(after: number, limit: number): readonly AuditRecord[] {
    return this.#all('SELECT * FROM journal WHERE sequence > ? ORDER BY sequence LIMIT ?', after, limit).map((row) => ({
      sequence: integer(row, 'sequence'),
      at: integer(row, 'at'),
      who: text(row, 'who'),
      what: text(row, 'what') as AuditRecord['what'],
      subject: text(row, 'subject'),
      detail: text(row, 'detail'),
      previous: text(row, 'previous'),
      hash: text(row, 'hash'),
    }));
  }

  /** All intermediates ever issued, the newest first, at most `limit`. */
  inventory(limit: number): readonly IntermediateEntry[] {
    return this.#all('SELECT * FROM intermediates ORDER BY issued_at DESC, key_id LIMIT ?', limit).map(
      readIntermediate,
    );
  }

  /** Writes a consistent copy to a file that does not exist yet. @throws IsthmusError `unavailable` */
  copyTo(path: string): void {
    try {
      this.#db.prepare('VACUUM INTO ?').run(path);
      chmodSync(path, 0o600);
    } catch (cause) {
      throw new IsthmusError('unavailable', `Cannot write ${path}: ${messageOf(cause)}`, { cause });
    }
  }

  /**
   * Makes a restored copy safe to go on from: the roster jumps ahead of what was published after the backup, and no
   * token of then is good any more, because it may have been redeemed since.
   */
  restart(entry: AuditEntry, jump: number): void {
    this.#db.exec('BEGIN IMMEDIATE');
    this.#run(
      `INSERT INTO roster (id, sequence, payload) VALUES (1, ?, NULL)
       ON CONFLICT (id) DO UPDATE SET sequence = sequence + ?, payload = NULL`,
      jump,
      jump,
    );
    this.#run('DELETE FROM tokens');
    this.#append(entry);
    this.#db.exec('COMMIT');
  }

  #apply(change: Change): void {
    switch (change.type) {
      case 'token': {
        const { hash, cluster, rejoin, admission, issuedAt, expiresAt, usedBy = null, revoked } = change.token;
        this.#put('tokens', [
          hash,
          cluster,
          Number(rejoin),
          JSON.stringify(admission),
          issuedAt,
          expiresAt,
          usedBy,
          Number(revoked),
        ]);
        return;
      }
      case 'forget-tokens':
        for (const hash of change.hashes) this.#run('DELETE FROM tokens WHERE hash = ?', hash);
        return;
      case 'member': {
        const { cluster, trustDomain, state, joinedAt, leftAt = null, ...admission } = change.member;
        // Not "replace", which would delete the row that intermediates refer to.
        this.#run(
          `INSERT INTO members VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (cluster) DO UPDATE SET state = excluded.state,
           admission = excluded.admission, joined_at = excluded.joined_at, left_at = excluded.left_at`,
          cluster,
          trustDomain,
          state,
          JSON.stringify(admission),
          joinedAt,
          leftAt,
        );
        return;
      }
      case 'intermediate': {
        const { keyId, cluster, replica, serial, issuedAt, notAfter, certificate, retired } = change.intermediate;
        const values = [keyId, cluster, replica, serial, issuedAt, notAfter, certificate, Number(retired)];
        // No "or replace": a key that was certified before is an error whoever overlooked it.
        this.#run(`INSERT INTO intermediates VALUES (${marks(values)})`, ...values);
        return;
      }
      case 'retire':
        for (const keyId of change.keyIds) this.#run('UPDATE intermediates SET retired = 1 WHERE key_id = ?', keyId);
        return;
      case 'deny':
        this.#put('denied', [change.denied.keyId, change.denied.why, change.denied.until]);
        return;
      case 'pending': {
        const { keyId, kind, cluster, replica, csr, requestedAt, who, rejoin } = change.pending;
        this.#put('pending', [keyId, kind, cluster, replica, csr, requestedAt, who, Number(rejoin)]);
        return;
      }
      case 'settled':
        this.#run('DELETE FROM pending WHERE key_id = ?', change.keyId);
        return;
      case 'roster':
        this.#put('roster', [1, change.sequence, change.payload]);
        return;
    }
  }

  /** Appends to the journal and chains it to what is there; inside the transaction of what it tells. */
  #append(entry: AuditEntry): void {
    const record = auditRecord(entry, this.#last);
    const { sequence, at, who, what, subject, detail, previous, hash } = record;
    this.#run(
      'INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      sequence,
      at,
      who,
      what,
      subject,
      detail,
      previous,
      hash,
    );
    this.#last = record;
  }

  #readLast(): void {
    const last = this.#one('SELECT sequence, hash FROM journal ORDER BY sequence DESC LIMIT 1');
    if (last) this.#last = { sequence: integer(last, 'sequence'), hash: text(last, 'hash') };
  }

  #put(table: string, values: readonly Value[]): void {
    this.#run(`INSERT OR REPLACE INTO ${table} VALUES (${marks(values)})`, ...values);
  }

  #one(sql: string, ...values: readonly Value[]): Row | undefined {
    return this.#prepared(sql).get(...values);
  }

  #all(sql: string, ...values: readonly Value[]): Row[] {
    return this.#prepared(sql).all(...values);
  }

  #run(sql: string, ...values: readonly Value[]): void {
    this.#prepared(sql).run(...values);
  }

  #prepared(sql: string): StatementSync {
    const statement = this.#statements.get(sql) ?? this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

function marks(values: readonly Value[]): string {
  return values.map(() => '?').join(', ');
}
