import { readFile } from 'node:fs/promises';
import { IsthmusError } from '../../../model/error.ts';
import { adminPaths } from '../../../model/status.ts';
import type { AuditPage, AuditRow, BundleDetail, BundleReport, IntermediateRow } from '../../../model/trust-report.ts';
import { exit } from '../../exit.ts';
import type { OutputFormat } from '../../output-format.ts';
import type { InputFile } from '../../trust-tools.ts';
import { render, type View, wantsColour } from '../../view.ts';
import {
  bundlesView,
  bundleView,
  chainView,
  inventoryView,
  journalView,
  lintView,
  vectorsView,
} from '../../views/trust.ts';
import type { AdminConnection, World } from '../../world.ts';
import { connectServer, type ServerFlags } from '../connect.ts';
import { readAll } from '../stdin.ts';

export interface OutputFlags {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

/** A journal of a million records is some hundred megabytes. */
const maxInputBytes = 512 << 20;
/** Parts of a journal that are asked for; a server that never ends is not waited for. */
const maxPages = 100_000;

function show(world: World, view: View, { output, headers }: OutputFlags): void {
  const colour = wantsColour(world.stdout.isTTY, world.env);
  world.stdout.write(render(view, { format: output, headers, colour }));
}

/** `-`: standard input. @throws IsthmusError `invalid` */
async function readInput(name: string): Promise<InputFile> {
  if (name === '-') return { name: 'standard input', bytes: await readAll(process.stdin) };
  const bytes = await readFile(name).catch((cause: NodeJS.ErrnoException) => {
    throw new IsthmusError('invalid', `Cannot read ${name}: ${cause.code ?? cause.message}`, { cause });
  });
  if (bytes.length > maxInputBytes) throw new IsthmusError('invalid', `${name} has more than ${maxInputBytes} bytes`);
  return { name, bytes };
}

export interface VerifyFlags extends OutputFlags {
  readonly bundle: string;
  readonly trustDomain?: string;
  readonly spiffeOnly: boolean;
  /** Wall clock in ms; default: now. */
  readonly at?: number;
}

/** `isthmus trust verify <chain>`: exit 1 when it is refused. */
export async function verifyChain(world: World, chain: string, flags: VerifyFlags): Promise<number> {
  const tools = await world.trust();
  const report = tools.verifyChain({
    chain: await readInput(chain),
    bundle: await readInput(flags.bundle),
    ...(flags.trustDomain !== undefined && { trustDomain: flags.trustDomain }),
    binding: flags.spiffeOnly ? 'spiffe' : 'trust-domain',
    at: flags.at ?? Date.now(),
  });
  show(world, chainView(report), flags);
  return report.ok ? exit.ok : exit.failed;
}

/** `isthmus trust lint <file…>`: exit 1 when there is an error among the findings. */
export async function lint(world: World, files: readonly string[], flags: OutputFlags): Promise<number> {
  const inputs: InputFile[] = [];
  for (const file of files) inputs.push(await readInput(file));
  const report = (await world.trust()).lint(inputs, Date.now());
  show(world, lintView(report), flags);
  return report.findings.some(({ severity }) => severity === 'error') ? exit.failed : exit.ok;
}

/** `isthmus trust vectors <dir>` */
export async function writeVectors(world: World, dir: string, flags: OutputFlags): Promise<number> {
  show(world, vectorsView(await (await world.trust()).writeVectors(dir, Date.now())), flags);
  return exit.ok;
}

export interface BundleFlags extends OutputFlags, ServerFlags {
  readonly file?: string;
  readonly url?: string;
  readonly spiffeId?: string;
  readonly endpointAnchors?: string;
}

/** `isthmus trust bundle show [trust domain]` */
export async function showBundle(world: World, domain: string | undefined, flags: BundleFlags): Promise<number> {
  if (domain !== undefined) {
    show(world, bundleView(await findBundle(world, domain, flags)), flags);
    return exit.ok;
  }
  if (flags.file !== undefined || flags.url !== undefined) {
    throw new IsthmusError('invalid', 'A bundle does not say whose it is: name its trust domain');
  }
  show(world, bundlesView(await ask(world, flags, (agent) => agent.get<BundleReport>(adminPaths.bundles))), flags);
  return exit.ok;
}

/** `isthmus trust bundle get <trust domain>`: the document itself, for other programs. */
export async function getBundle(
  world: World,
  domain: string,
  flags: Omit<BundleFlags, keyof OutputFlags> & { readonly form: 'spiffe' | 'pem' },
): Promise<number> {
  const { document, pem } = await findBundle(world, domain, flags);
  world.stdout.write(flags.form === 'pem' ? pem : `${document}\n`);
  return exit.ok;
}

async function findBundle(
  world: World,
  trustDomain: string,
  flags: Omit<BundleFlags, keyof OutputFlags>,
): Promise<BundleDetail> {
  const { file, url, spiffeId, endpointAnchors, timeoutMs } = flags;
  if (file !== undefined && url !== undefined) throw new IsthmusError('invalid', 'Name either --file or --url');
  if (url === undefined && (spiffeId ?? endpointAnchors) !== undefined) {
    throw new IsthmusError('invalid', '--endpoint-id and --endpoint-anchors are about --url');
  }
  if (file !== undefined) return (await world.trust()).readBundle(await readInput(file), trustDomain);
  if (url !== undefined) {
    return (await world.trust()).fetchBundle({
      url,
      trustDomain,
      timeoutMs,
      ...(spiffeId !== undefined && { spiffeId }),
      ...(endpointAnchors !== undefined && { anchors: await readInput(endpointAnchors) }),
    });
  }
  return ask(world, flags, (agent) =>
    agent.get<BundleDetail>(`${adminPaths.bundles}/${encodeURIComponent(trustDomain)}`),
  );
}

async function ask<T>(
  world: World,
  flags: ServerFlags,
  question: (connection: AdminConnection) => Promise<T>,
  kind: 'agent' | 'authority' = 'agent',
): Promise<T> {
  const connection = await connectServer(world, kind, flags);
  try {
    return await question(connection);
  } finally {
    await connection.close();
  }
}

/** `isthmus trust audit verify [file…]`: of files, or of the authority, hash by hash; exit 1 when it is broken. */
export async function verifyJournal(
  world: World,
  files: readonly string[],
  flags: OutputFlags & ServerFlags,
): Promise<number> {
  const tools = await world.trust();
  const rows: AuditRow[] = [];
  for (const file of files) rows.push(...tools.parseJournal(await readInput(file)));
  const journal = files.length > 0 ? rows : await ask(world, flags, readJournal, 'authority');
  const verdict = tools.journalVerdict(journal);
  show(world, journalView(verdict), flags);
  return verdict.ok ? exit.ok : exit.failed;
}

async function readJournal(connection: AdminConnection): Promise<readonly AuditRow[]> {
  const rows: AuditRow[] = [];
  let after = 0;
  for (let pages = 0; pages < maxPages; pages += 1) {
    const { records, next } = await connection.get<AuditPage>(`${adminPaths.audit}?after=${after}`);
    for (const record of records) rows.push(record);
    if (next === undefined || next <= after) return rows;
    after = next;
  }
  throw new IsthmusError('exhausted', `The journal has more than ${maxPages} parts`);
}

/** `isthmus trust inventory`: what the authority issued. */
export async function inventory(world: World, flags: OutputFlags & ServerFlags): Promise<number> {
  const rows = await ask(world, flags, (server) => server.get<IntermediateRow[]>(adminPaths.inventory), 'authority');
  show(world, inventoryView(rows), flags);
  return exit.ok;
}
