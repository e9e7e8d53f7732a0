import type { SpiffeId } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { IssuedBy, KeyId } from '../../model/trust.ts';
import type { AuditAction, AuditRecord } from '../audit.ts';
import {
  decodeIssuance,
  decodeIssuedBy,
  encodeIssuance,
  encodeIssuedBy,
  type Issuance,
  ownHand,
} from '../issue/issuance.ts';
import { LeafLedger } from '../issue/leaf-ledger.ts';
import { ClusterJournal } from './cluster-journal.ts';
import type { Activation } from './cluster-intermediates.ts';

/** What a replica has signed, and the journal that proves it. */
export interface IssuedReport {
  readonly issued: readonly IssuedBy[];
  readonly journal: { readonly records: number; readonly head: string };
}

/** Everything that a cluster's CA decided: on disk in its journal, and in memory what of it still counts. */
export class ClusterRecords {
  readonly #journal: ClusterJournal;
  readonly #ledger: LeafLedger;
  readonly #clock: Clock;

  private constructor(journal: ClusterJournal, ledger: LeafLedger, clock: Clock) {
    this.#journal = journal;
    this.#ledger = ledger;
    this.#clock = clock;
  }

  /** @throws IsthmusError `corrupt` if the journal was changed, `denied` for an open directory */
  static async open(directory: string, clock: Clock, log: Log): Promise<ClusterRecords> {
    const ledger = new LeafLedger();
    const journal = await ClusterJournal.open({
      directory,
      log,
      onRecord: (record, oldest) => replay(ledger, record, { oldest, now: clock.now() }),
      carryOver: () =>
        ledger.issued(clock.now()).map((each) => ({
          at: clock.now(),
          who: ownHand,
          what: 'carry-over',
          subject: each.keyId,
          detail: encodeIssuedBy(each),
        })),
    });
    return new ClusterRecords(journal, ledger, clock);
  }

  /** Resolves once it is on disk. @throws IsthmusError `unavailable` */
  async issued(issuance: Issuance, who: string): Promise<void> {
    await this.#append('issue-leaf', { who, subject: issuance.id, detail: encodeIssuance(issuance) });
    this.#ledger.note(issuance, this.#clock.now());
  }

  /** @throws IsthmusError `unavailable` */
  activated({ keyId, missing, reason }: Activation): Promise<void> {
    const some = `${missing.slice(0, 10).join(', ')}${missing.length > 10 ? ', …' : ''}`;
    const detail = missing.length === 0 ? 'acknowledged by all' : `${reason ?? ''}, without ${some}`;
    return this.#append('activate-intermediate', { who: ownHand, subject: keyId, detail });
  }

  /** @throws IsthmusError `unavailable` */
  denied(subject: string, who: string, why: string): Promise<void> {
    return this.#append('deny', { who, subject, detail: why.slice(0, 500) });
  }

  /** Whose a key is, as long as a certificate of it lives. */
  ownerOf(keyId: KeyId): SpiffeId | undefined {
    return this.#ledger.ownerOf(keyId, this.#clock.now());
  }

  report(): IssuedReport {
    const { sequence, hash } = this.#journal.head;
    return { issued: this.#ledger.issued(this.#clock.now()), journal: { records: sequence, head: hash } };
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  #append(what: AuditAction, entry: Pick<AuditRecord, 'who' | 'subject' | 'detail'>): Promise<void> {
    return this.#journal.append({ at: this.#clock.now(), what, ...entry });
  }
}

/** Takes up what the journal says of leaves that still live. */
function replay(
  ledger: LeafLedger,
  { what, subject, detail }: AuditRecord,
  at: { oldest: boolean; now: number },
): void {
  const issuance = what === 'issue-leaf' ? decodeIssuance(subject, detail) : undefined;
  if (issuance) ledger.note(issuance, at.now);
  // Later segments repeat what the earlier ones say.
  const carried = what === 'carry-over' && at.oldest ? decodeIssuedBy(subject, detail) : undefined;
  if (carried) ledger.carry(carried, at.now);
}
