import { constants, type FileHandle, open, readdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Log } from '../../model/ports/log.ts';
import { ensurePrivateDir } from '../../runtime/io/files.ts';
import {
  type AuditEntry,
  type AuditRecord,
  type AuditStart,
  auditBeginning,
  auditProblem,
  auditRecord,
} from '../audit.ts';

/**
 * The journal of a cluster's CA: hash-chained lines in segments of bounded size. What it says is on disk before
 * whoever it is about gets a certificate.
 */

export interface ClusterJournalOptions {
  /** Made if need be; private. */
  readonly directory: string;
  readonly log: Log;
  /** Each record that is there already, oldest first. `oldest`: it stands in the first segment that is left. */
  readonly onRecord: (record: AuditRecord, oldest: boolean) => void;
  /** What a new segment must repeat of those before it, which may be dropped some day. */
  readonly carryOver: () => readonly AuditEntry[];
  /** Default 4 MiB, about 10,000 records. */
  readonly segmentBytes?: number;
  /** Default 16; older ones are deleted. */
  readonly maxSegments?: number;
}

/** More waiting entries than this are refused: the disk does not keep up. */
const maxWaiting = 10_000;
const segmentName = /^(\d{15})\.jsonl$/;

const schema = z.strictObject({
  sequence: z.number().int().min(1),
  at: z.number(),
  who: z.string(),
  what: z.string().transform((text) => text as AuditRecord['what']),
  subject: z.string(),
  detail: z.string(),
  previous: z.string(),
  hash: z.string(),
});

interface Waiting {
  readonly entry: AuditEntry;
  readonly resolve: () => void;
  readonly reject: (error: IsthmusError) => void;
}

/** Appends in groups: entries that come while the disk is busy share the next write and its fsync. */
export class ClusterJournal {
  readonly #options: ClusterJournalOptions;
  readonly #segmentBytes: number;
  readonly #maxSegments: number;
  /** First sequence of each segment, oldest first. */
  readonly #segments: number[] = [];
  #last: AuditStart = auditBeginning;
  #file: FileHandle | undefined;
  /** Bytes of the newest segment that are known to be good. */
  #size = 0;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #closed = false;

  private constructor(options: ClusterJournalOptions) {
    this.#options = options;
    this.#segmentBytes = options.segmentBytes ?? 4 << 20;
    this.#maxSegments = options.maxSegments ?? 16;
  }

  /** @throws IsthmusError `corrupt` if a record was changed or is missing, `denied` for an open directory */
  static async open(options: ClusterJournalOptions): Promise<ClusterJournal> {
    const journal = new ClusterJournal(options);
    await ensurePrivateDir(options.directory);
    await journal.#replay();
    return journal;
  }

  /** The last record: its hash stands for everything before it. */
  get head(): AuditStart {
    return this.#last;
  }

  /** Resolves once the entry is on disk. @throws IsthmusError `unavailable` if it cannot be; nothing of it is then left */
  append(entry: AuditEntry): Promise<void> {
    if (this.#closed) return Promise.reject(new IsthmusError('unavailable', 'The journal is closed'));
    if (this.#waiting.length >= maxWaiting) {
      return Promise.reject(new IsthmusError('exhausted', `${maxWaiting} entries of the journal wait for the disk`));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#writing;
    await this.#file?.close();
    this.#file = undefined;
  }

  async #replay(): Promise<void> {
    const { directory } = this.#options;
    for (const name of (await readdir(directory)).sort()) {
      const first = segmentName.exec(name)?.[1];
      if (first !== undefined) this.#segments.push(Number(first));
    }
    for (const [index, first] of this.#segments.entries()) {
      await this.#replaySegment(first, { oldest: index === 0, newest: index === this.#segments.length - 1 });
    }
  }

  async #replaySegment(first: number, place: { readonly oldest: boolean; readonly newest: boolean }): Promise<void> {
    const path = this.#path(first);
    const bytes = await readFile(path);
    // A crash may tear the last line: it was never acknowledged to anybody.
    const end = bytes.lastIndexOf(0x0a) + 1;
    if (end < bytes.length) {
      if (!place.newest) throw new IsthmusError('corrupt', `${path} ends within a record`);
      this.#options.log.warn(
        { path, bytes: bytes.length - end },
        'the journal ended within a record, which is dropped',
      );
    }
    const records = parseLines(path, bytes.subarray(0, end).toString('utf8'));
    if (place.oldest) this.#last = { sequence: first - 1, hash: records[0]?.previous ?? auditBeginning.hash };
    const problem = auditProblem(records, this.#last);
    if (problem !== undefined)
      throw new IsthmusError('corrupt', `${path}: ${problem}`, {
        hint: 'Keep it as evidence; move it away to start a new journal.',
      });
    for (const record of records) this.#options.onRecord(record, place.oldest);
    this.#last = records.at(-1) ?? this.#last;
    this.#size = end;
  }

  /** Writes what waits until nothing does. Never rejects: each entry is told for itself. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0);
      try {
        await this.#write(group.map(({ entry }) => entry));
        for (const { resolve } of group) resolve();
      } catch (cause) {
        const error = new IsthmusError(
          'unavailable',
          `Cannot write the journal in ${this.#options.directory}: ${messageOf(cause)}`,
          { cause },
        );
        for (const { reject } of group) reject(error);
      }
    }
    this.#writing = undefined;
  }

  async #write(entries: readonly AuditEntry[]): Promise<void> {
    const before = this.#last;
    const rotate = this.#segments.length === 0 || this.#size >= this.#segmentBytes;
    const file = rotate ? await this.#nextSegment() : (this.#file ??= await this.#reopen());
    const all = this.#size === 0 && before.sequence > 0 ? [...this.#options.carryOver(), ...entries] : entries;
    let last = before;
    const lines = all.map((entry) => {
      const record = auditRecord(entry, last);
      last = record;
      return `${JSON.stringify(record)}\n`;
    });
    const bytes = Buffer.from(lines.join(''));
    try {
      await writeAll(file, bytes, this.#size);
      await file.datasync();
    } catch (thrown) {
      await this.#undo(file);
      throw thrown;
    }
    this.#size += bytes.length;
    this.#last = last;
  }

  async #reopen(): Promise<FileHandle> {
    const file = await open(this.#path(this.#segments.at(-1) ?? 1), constants.O_RDWR | constants.O_CREAT, 0o600);
    await file.truncate(this.#size);
    return file;
  }

  async #nextSegment(): Promise<FileHandle> {
    const first = this.#last.sequence + 1;
    // Left behind by a write that failed: nothing in it was acknowledged.
    const file = await open(this.#path(first), 'w', 0o600);
    await this.#file?.close();
    this.#file = file;
    this.#size = 0;
    if (this.#segments.at(-1) !== first) this.#segments.push(first);
    const directory = await open(this.#options.directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
    while (this.#segments.length > this.#maxSegments) {
      const oldest = this.#segments.shift();
      if (oldest !== undefined) await unlink(this.#path(oldest));
    }
    return file;
  }

  /** A half-written group must not be found by the next start as if it had been acknowledged. */
  async #undo(file: FileHandle): Promise<void> {
    try {
      await file.truncate(this.#size);
    } catch (thrown) {
      this.#options.log.error({ why: messageOf(thrown) }, 'cannot take back a failed write of the journal');
      // Opened anew, which truncates it, before anything else is written.
      this.#file = undefined;
      await file.close();
    }
  }

  #path(first: number): string {
    return join(this.#options.directory, `${String(first).padStart(15, '0')}.jsonl`);
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    if (bytesWritten === 0) throw new IsthmusError('unavailable', 'The disk takes no more');
    done += bytesWritten;
  }
}

function parseLines(path: string, text: string): readonly AuditRecord[] {
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line, index) => {
    try {
      return schema.parse(JSON.parse(line));
    } catch (cause) {
      throw new IsthmusError('corrupt', `${path}:${index + 1} is no record of the journal`, { cause });
    }
  });
}
