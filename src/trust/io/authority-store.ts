import { chmodSync } from 'node:fs';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { IsthmusError } from '../../model/error.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';
import { parseTrustDomain, type TrustDomain } from '../../model/identity.ts';
import type { KeyId, RosterEntry } from '../../model/trust.ts';
import { type AuditRecord, auditHash, firstPrevious } from '../audit.ts';

/** Raised with every change of the tables; an unknown version is refused. */
const schemaVersion = 1;

const schema = `
CREATE TABLE IF NOT EXISTS tokens (
  hash BLOB PRIMARY KEY, cluster TEXT NOT NULL, rejoin INTEGER NOT NULL, issued_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL, used_at INTEGER, used_by TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS clusters (
  name TEXT PRIMARY KEY, trust_domain TEXT NOT NULL UNIQUE, state TEXT NOT NULL, labels TEXT NOT NULL,
  exportable TEXT NOT NULL, joined_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS intermediates (
  key_id TEXT PRIMARY KEY, cluster TEXT NOT NULL REFERENCES clusters (name), replica TEXT NOT NULL,
  serial TEXT NOT NULL, not_after INTEGER NOT NULL, certificate BLOB NOT NULL, retired INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS denied (key_id TEXT PRIMARY KEY, why TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS roster (
  id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, payload BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS journal (
  sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
  detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
`;

type Row = Record<string, SQLOutputValue>;

function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  throw new IsthmusError('corrupt', `Column ${column} of the authority's state is not text`);
}

function integer(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === 'number') return value;
  throw new IsthmusError('corrupt', `Column ${column} of the authority's state is not a number`);
}

function blob(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (value instanceof Uint8Array) return value;
  throw new IsthmusError('corrupt', `Column ${column} of the authority's state is not bytes`);
}

/** A member as stored; its keys are the intermediates'. */
export type StoredCluster = Omit<RosterEntry, 'caKeyIds'>;

export interface StoredToken {
  readonly cluster: ClusterName;
  readonly rejoin: boolean;
  /** Wall clock in ms. */
  readonly expiresAt: number;
  readonly usedBy: string | undefined;
}

export interface StoredIntermediate {
  readonly keyId: KeyId;
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  readonly serial: string;
  /** Wall clock in ms. */
  readonly notAfter: number;
  /** DER. */
  readonly certificate: Uint8Array;
}

/**
 * The authority's state in SQLite (WAL, full sync, one process). Every method is synchronous: a decision is one
 * `transaction`, durable when it returns, and nothing else runs in between.
 */
export class AuthorityStore {
  readonly #db: DatabaseSync;

  /** @throws IsthmusError `conflict` if another process uses the file, `corrupt` if it is of another version */
  constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 500, enableForeignKeyConstraints: true });
    try {
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
      // Takes the exclusive lock now rather than at the first decision.
      this.#db.exec(`BEGIN IMMEDIATE; ${schema} COMMIT;`);
      chmodSync(path, 0o600);
    } catch (cause) {
      this.#db.close();
      throw new IsthmusError('conflict', `Cannot open ${path}: another authority may be using it`, { cause });
    }
    const version = integer(this.#one('PRAGMA user_version') ?? {}, 'user_version');
    if (version === 0) this.#db.exec(`PRAGMA user_version = ${schemaVersion}`);
    else if (version !== schemaVersion) {
      this.#db.close();
      throw new IsthmusError('corrupt', `${path} has version ${version}, this program knows ${schemaVersion}`);
    }
  }

  close(): void {
    this.#db.close();
  }

  /** Runs `decide` as one durable step; whatever it throws undoes all of it. */
  transaction<T>(decide: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    let result: T;
    try {
      result = decide();
    } catch (thrown) {
      this.#db.exec('ROLLBACK');
      throw thrown;
    }
    this.#db.exec('COMMIT');
    return result;
  }

  #one(sql: string, ...values: (string | number | Uint8Array | null)[]): Row | undefined {
    return this.#db.prepare(sql).get(...values);
  }

  #all(sql: string, ...values: (string | number | Uint8Array | null)[]): Row[] {
    return this.#db.prepare(sql).all(...values);
  }

  #run(sql: string, ...values: (string | number | Uint8Array | null)[]): number {
    return Number(this.#db.prepare(sql).run(...values).changes);
  }

  addToken(hash: Uint8Array, token: Omit<StoredToken, 'usedBy'>, issuedAt: number): void {
    this.#run(
      'INSERT INTO tokens (hash, cluster, rejoin, issued_at, expires_at) VALUES (?, ?, ?, ?, ?)',
      hash,
      token.cluster,
      token.rejoin ? 1 : 0,
      issuedAt,
      token.expiresAt,
    );
  }

  token(hash: Uint8Array): StoredToken | undefined {
    const row = this.#one('SELECT cluster, rejoin, expires_at, used_by FROM tokens WHERE hash = ?', hash);
    if (!row) return undefined;
    return {
      cluster: parseClusterName(text(row, 'cluster')),
      rejoin: integer(row, 'rejoin') === 1,
      expiresAt: integer(row, 'expires_at'),
      usedBy: row['used_by'] === null ? undefined : text(row, 'used_by'),
    };
  }

  /** Marks a token used if it is not used and not expired at `now`; true for exactly one caller. */
  consumeToken(hash: Uint8Array, now: number, by: string): boolean {
    const sql = 'UPDATE tokens SET used_at = ?, used_by = ? WHERE hash = ? AND used_at IS NULL AND expires_at > ?';
    return this.#run(sql, now, by, hash, now) === 1;
  }

  /** Forgets tokens that ended before `before`, used or not. */
  pruneTokens(before: number): void {
    this.#run('DELETE FROM tokens WHERE expires_at < ?', before);
  }

  cluster(name: ClusterName): StoredCluster | undefined {
    const row = this.#one('SELECT * FROM clusters WHERE name = ?', name);
    return row && readCluster(row);
  }

  clusters(): StoredCluster[] {
    return this.#all('SELECT * FROM clusters ORDER BY name').map(readCluster);
  }

  addCluster(name: ClusterName, trustDomain: TrustDomain, now: number): void {
    this.#run(
      `INSERT INTO clusters (name, trust_domain, state, labels, exportable, joined_at) VALUES (?, ?, 'active', '{}', '["*/*"]', ?)`,
      name,
      trustDomain,
      now,
    );
  }

  /** False: no such cluster. */
  setState(name: ClusterName, state: RosterEntry['state']): boolean {
    return this.#run('UPDATE clusters SET state = ? WHERE name = ?', state, name) === 1;
  }

  addIntermediate(entry: StoredIntermediate): void {
    this.#run(
      'INSERT INTO intermediates (key_id, cluster, replica, serial, not_after, certificate) VALUES (?, ?, ?, ?, ?, ?)',
      entry.keyId,
      entry.cluster,
      entry.replica,
      entry.serial,
      entry.notAfter,
      entry.certificate,
    );
  }

  hasKey(keyId: KeyId): boolean {
    return this.#one('SELECT 1 AS found FROM intermediates WHERE key_id = ?', keyId) !== undefined;
  }

  /** Intermediates that may still sign at `now`. */
  liveIntermediates(now: number): StoredIntermediate[] {
    return this.#all('SELECT * FROM intermediates WHERE retired = 0 AND not_after > ? ORDER BY key_id', now).map(
      (row) => ({
        keyId: text(row, 'key_id'),
        cluster: parseClusterName(text(row, 'cluster')),
        replica: parseReplicaName(text(row, 'replica')),
        serial: text(row, 'serial'),
        notAfter: integer(row, 'not_after'),
        certificate: blob(row, 'certificate'),
      }),
    );
  }

  /** Takes all intermediates of a replica out of the roster. */
  retireReplica(cluster: ClusterName, replica: ReplicaName): void {
    this.#run('UPDATE intermediates SET retired = 1 WHERE cluster = ? AND replica = ?', cluster, replica);
  }

  deny(keyId: KeyId, why: string): void {
    this.#run('INSERT OR IGNORE INTO denied (key_id, why) VALUES (?, ?)', keyId, why);
  }

  deniedKeyIds(): KeyId[] {
    return this.#all('SELECT key_id FROM denied ORDER BY key_id').map((row) => text(row, 'key_id'));
  }

  /** The roster last published: never sealed again with other contents under its sequence. */
  roster(): { readonly sequence: number; readonly payload: Uint8Array } | undefined {
    const row = this.#one('SELECT sequence, payload FROM roster WHERE id = 1');
    return row && { sequence: integer(row, 'sequence'), payload: blob(row, 'payload') };
  }

  setRoster(sequence: number, payload: Uint8Array): void {
    const sql = `INSERT INTO roster (id, sequence, payload) VALUES (1, ?, ?)
      ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, payload = excluded.payload`;
    this.#run(sql, sequence, payload);
  }

  /** Appends to the journal and chains it to what is there; inside the transaction of what it tells. */
  audit(entry: Pick<AuditRecord, 'at' | 'who' | 'what' | 'subject' | 'detail'>): void {
    const last = this.#one('SELECT sequence, hash FROM journal ORDER BY sequence DESC LIMIT 1');
    const record = {
      ...entry,
      sequence: last ? integer(last, 'sequence') + 1 : 1,
      previous: last ? text(last, 'hash') : firstPrevious,
    };
    this.#run(
      'INSERT INTO journal (sequence, at, who, what, subject, detail, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      record.sequence,
      record.at,
      record.who,
      record.what,
      record.subject,
      record.detail,
      record.previous,
      auditHash(record),
    );
  }

  /** The whole journal, oldest first. */
  *journal(): Generator<AuditRecord> {
    for (const row of this.#db.prepare('SELECT * FROM journal ORDER BY sequence').iterate()) {
      yield {
        sequence: integer(row, 'sequence'),
        at: integer(row, 'at'),
        who: text(row, 'who'),
        what: text(row, 'what') as AuditRecord['what'],
        subject: text(row, 'subject'),
        detail: text(row, 'detail'),
        previous: text(row, 'previous'),
        hash: text(row, 'hash'),
      };
    }
  }
}

function readCluster(row: Row): StoredCluster {
  const state = text(row, 'state');
  if (state !== 'active' && state !== 'suspended' && state !== 'revoked') {
    throw new IsthmusError('corrupt', `A cluster has the unknown state '${state}'`);
  }
  return {
    cluster: parseClusterName(text(row, 'name')),
    trustDomain: parseTrustDomain(text(row, 'trust_domain')),
    state,
    labels: JSON.parse(text(row, 'labels')) as StoredCluster['labels'],
    exportable: JSON.parse(text(row, 'exportable')) as StoredCluster['exportable'],
  };
}
