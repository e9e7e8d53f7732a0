import { resolve } from 'node:path';
import { IsthmusError } from '../../../model/error.ts';
import { adminPaths } from '../../../model/status.ts';
import type {
  AuditPage,
  AuditRow,
  BackupReport,
  ImportReport,
  JournalVerdict,
  PendingRow,
  SignRequestReport,
  TrustReplicaRow,
} from '../../../model/trust-report.ts';
import { exit } from '../../exit.ts';
import type { OutputFormat } from '../../output-format.ts';
import { clean, plural } from '../../text.ts';
import { render, type View, wantsColour } from '../../view.ts';
import { auditView, pendingView } from '../../views/authority.ts';
import { acknowledgementsView } from '../../views/trust-status.ts';
import type { AdminConnection, World } from '../../world.ts';
import { connectServer, type ServerFlags } from '../connect.ts';

/** Flags of verbs that talk to the authority. */
export interface AuthorityFlags extends ServerFlags {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

/** Asks a running authority. @throws IsthmusError */
export async function askAuthority<T>(
  world: World,
  flags: ServerFlags,
  ask: (connection: AdminConnection) => Promise<T>,
): Promise<T> {
  const connection = await connectServer(world, 'authority', flags);
  try {
    return await ask(connection);
  } finally {
    await connection.close();
  }
}

/** Writes an answer in the form that was asked for. */
export function showView(world: World, view: View, { output, headers }: AuthorityFlags): number {
  const colour = wantsColour(world.stdout.isTTY, world.env);
  world.stdout.write(render(view, { format: output, headers, colour }));
  return exit.ok;
}

/** A view of something that is no list: a sentence for people. */
function sentenceView(data: object, name: string, text: string): View {
  return { data, names: [name], text: () => `${clean(text)}\n` };
}

/** `isthmus authority pending` */
export async function showPending(world: World, flags: AuthorityFlags): Promise<number> {
  const rows = await askAuthority(world, flags, (authority) => authority.get<PendingRow[]>(adminPaths.pending));
  if (rows.length > 0) world.stderr.write(`Next: isthmus authority sign-request --out request.json\n`);
  return showView(world, pendingView(rows), flags);
}

/** `isthmus authority acknowledgements` */
export async function showAcknowledgements(world: World, flags: AuthorityFlags): Promise<number> {
  const rows = await askAuthority(world, flags, (authority) =>
    authority.get<TrustReplicaRow[]>(adminPaths.acknowledgements),
  );
  return showView(world, acknowledgementsView(rows), flags);
}

/** `isthmus authority sign-request` */
export async function signRequest(world: World, out: string, flags: AuthorityFlags): Promise<number> {
  const body = { out: resolve(out) };
  const report = await askAuthority(world, flags, (authority) =>
    authority.post<SignRequestReport>(adminPaths.signRequest, body),
  );
  world.stderr.write(
    `Carry it to the root's machine. There: isthmus authority sign ${out} --state-dir <folder> --out response.json\n`,
  );
  const text = `${plural(report.items, 'certificate')} to sign, in ${report.file}, sha256 ${report.sha256}`;
  return showView(world, sentenceView(report, `request/${report.sha256}`, text), flags);
}

/** `isthmus authority import-response` */
export async function importResponse(world: World, file: string, flags: AuthorityFlags): Promise<number> {
  const body = { file: resolve(file) };
  const report = await askAuthority(world, flags, (authority) =>
    authority.post<ImportReport>(adminPaths.importResponse, body),
  );
  if (report.unknown > 0) {
    world.stderr.write(`${plural(report.unknown, 'certificate')} of it belong to nothing that waits here.\n`);
  }
  const text = `${plural(report.accepted.length, 'certificate')} taken: ${report.accepted.join(', ') || 'none'}`;
  return showView(world, sentenceView(report, 'response', text), flags);
}

export interface SignFlags extends Pick<AuthorityFlags, 'output' | 'headers'> {
  readonly stateDir?: string;
  readonly passphraseFile?: string;
  readonly out: string;
}

/** `isthmus authority sign`: without a running authority. */
export async function sign(world: World, request: string, flags: SignFlags): Promise<number> {
  if (flags.stateDir === undefined) throw new IsthmusError('invalid', 'authority sign needs --state-dir <folder>');
  const tools = await world.authority();
  const report = await tools.sign({
    stateDir: resolve(flags.stateDir),
    request: resolve(request),
    out: resolve(flags.out),
    ...(flags.passphraseFile !== undefined && { passphraseFile: resolve(flags.passphraseFile) }),
  });
  world.stderr.write(`Carry ${report.file} back. There: isthmus authority import-response ${flags.out}\n`);
  const text = `signed for request ${report.requestSha256}:\n${report.subjects.map((each) => `  ${each}`).join('\n')}`;
  return showView(world, sentenceView(report, `response/${report.requestSha256}`, text), { ...flags, timeoutMs: 0 });
}

export interface BackupFlags extends AuthorityFlags {
  readonly out: string;
  readonly passphraseFile?: string;
  /** For an authority that does not run. */
  readonly stateDir?: string;
}

/** `isthmus authority backup`: of a running authority, or with `--state-dir` of one that does not run. */
export async function backup(world: World, flags: BackupFlags): Promise<number> {
  const passphraseFile = flags.passphraseFile === undefined ? undefined : resolve(flags.passphraseFile);
  const body = { out: resolve(flags.out), ...(passphraseFile !== undefined && { passphraseFile }) };
  const report =
    flags.stateDir === undefined
      ? await askAuthority(world, flags, (authority) => authority.post<BackupReport>(adminPaths.backup, body))
      : await (await world.authority()).backup({ stateDir: resolve(flags.stateDir), ...body });
  const text = `${report.file}: ${report.bytes} bytes, roster ${report.rosterSequence}, ${plural(report.records, 'record')}`;
  return showView(world, sentenceView(report, `backup/${report.file}`, text), flags);
}

export interface RestoreFlags extends Pick<AuthorityFlags, 'output' | 'headers'> {
  readonly stateDir?: string;
  readonly passphraseFile: string;
}

/** `isthmus authority restore` */
export async function restore(world: World, from: string, flags: RestoreFlags): Promise<number> {
  if (flags.stateDir === undefined) throw new IsthmusError('invalid', 'authority restore needs --state-dir <folder>');
  const stateDir = resolve(flags.stateDir);
  const passphraseFile = resolve(flags.passphraseFile);
  const report = await (await world.authority()).restore({ stateDir, from: resolve(from), passphraseFile });
  world.stderr.write(
    `Open tokens of then are void. Clusters that joined or renewed since the backup must join again with --rejoin.\n`,
  );
  const text = `restored to ${stateDir}: rosters go on from ${report.rosterSequence}`;
  return showView(world, sentenceView(report, `backup/${report.file}`, text), { ...flags, timeoutMs: 0 });
}

/** Records of the journal that are shown unless more are asked for. */
export interface AuditFlags extends AuthorityFlags {
  /** Show what comes after this record. */
  readonly after: number;
}

/** `isthmus authority audit` */
export async function showAudit(world: World, flags: AuditFlags): Promise<number> {
  const rows = await askAuthority(world, flags, async (authority) => {
    const all: AuditRow[] = [];
    for (let after: number | undefined = flags.after; after !== undefined; ) {
      const page: AuditPage = await authority.get<AuditPage>(`${adminPaths.audit}?after=${after}`);
      all.push(...page.records);
      after = page.next;
    }
    return all;
  });
  return showView(world, auditView(rows), flags);
}

/** `isthmus authority audit verify`; exit 1 if the journal is not what was written. */
export async function verifyAudit(world: World, flags: AuthorityFlags): Promise<number> {
  const verdict = await askAuthority(world, flags, (authority) =>
    authority.get<JournalVerdict>(adminPaths.auditVerdict),
  );
  const text = verdict.ok
    ? `whole: ${plural(verdict.records, 'record')}, head ${verdict.head ?? 'none'}`
    : `not whole: ${verdict.problem ?? ''}`;
  showView(world, sentenceView(verdict, 'journal', text), flags);
  return verdict.ok ? exit.ok : exit.failed;
}

/** `isthmus authority accept-clock` */
export async function acceptClock(world: World, why: string, flags: ServerFlags): Promise<number> {
  await askAuthority(world, flags, (authority) => authority.post(adminPaths.acceptClock, { why }));
  world.stdout.write('the present wall clock is accepted\n');
  return exit.ok;
}
