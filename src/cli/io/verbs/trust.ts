import { type Command, InvalidArgumentError, Option } from 'commander';
import type { OutputFormat } from '../../output-format.ts';
import type { World } from '../../world.ts';
import type { BundleFlags } from '../commands/trust.ts';
import { type Choose, examples, type ServerOptions, serverFlags, withOutput, withServer } from './options.ts';

interface OutputOptions {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

/** Reads an RFC 3339 time, as wall clock in ms. */
function timeOption(text: string): number {
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw new InvalidArgumentError(`It must be a time such as '2030-01-31T12:00:00Z'.`);
  return at;
}

interface VerifyOptions extends OutputOptions {
  readonly bundle: string;
  readonly trustDomain?: string;
  readonly spiffeOnly?: boolean;
  readonly at?: number;
}

function addVerify(trust: Command, world: World, choose: Choose): void {
  const command = trust
    .command('verify <chain>')
    .description('judge a PEM chain offline, and name the rule that decides');
  withOutput(command)
    .requiredOption('--bundle <file>', 'SPIFFE bundle, bundle map or PEM anchors')
    .option('--trust-domain <name>', 'whose bundle it is; default: that of the chain')
    .option('--spiffe-only', 'leave out the binding of the issuer to the trust domain: for chains of other makes')
    .addOption(new Option('--at <time>', 'judge as of this moment').argParser(timeOption).default(undefined, 'now'))
    .addHelpText(
      'after',
      examples([
        ['isthmus trust verify chain.pem --bundle bundle.json', 'exit 1 if it is refused'],
        ['isthmus trust verify - --bundle roots.pem --spiffe-only', 'any SPIFFE chain, from standard input'],
      ]),
    )
    .action((chain: string, { spiffeOnly = false, ...flags }: VerifyOptions) =>
      choose(async () => (await import('../commands/trust.ts')).verifyChain(world, chain, { ...flags, spiffeOnly })),
    );
}

function addLint(trust: Command, world: World, choose: Choose): void {
  withOutput(trust.command('lint <pem...>'))
    .description('say which peers will not take these certificates, or not as they are meant')
    .addHelpText('after', examples([['isthmus trust lint root.pem chain.pem', 'exit 1 if there is an error']]))
    .action((files: readonly string[], flags: OutputOptions) =>
      choose(async () => (await import('../commands/trust.ts')).lint(world, files, flags)),
    );
}

function addVectors(trust: Command, world: World, choose: Choose): void {
  withOutput(trust.command('vectors <dir>'))
    .description('write chains that a verifier must accept or refuse, with the answers')
    .addHelpText('after', examples([['isthmus trust vectors vectors', 'vectors/index.json tells what is what']]))
    .action((dir: string, flags: OutputOptions) =>
      choose(async () => (await import('../commands/trust.ts')).writeVectors(world, dir, flags)),
    );
}

interface BundleOptions extends ServerOptions, OutputOptions {
  readonly file?: string;
  readonly url?: string;
  readonly endpointId?: string;
  readonly endpointAnchors?: string;
}

function withBundleSource(command: Command): Command {
  return withServer(command)
    .option('--file <file>', 'from a bundle, bundle map or PEM file, not from the agent')
    .option('--url <https-url>', 'from a bundle endpoint, not from the agent')
    .option('--endpoint-id <spiffe-id>', 'the endpoint must prove to be this (https_spiffe); default: https_web')
    .option('--endpoint-anchors <file>', 'PEM or bundle to check the endpoint against');
}

function bundleFlags(given: BundleOptions): Omit<BundleFlags, keyof OutputOptions> {
  const { file, url, endpointId, endpointAnchors } = given;
  return {
    ...serverFlags(given),
    ...(file !== undefined && { file }),
    ...(url !== undefined && { url }),
    ...(endpointId !== undefined && { spiffeId: endpointId }),
    ...(endpointAnchors !== undefined && { endpointAnchors }),
  };
}

function addBundle(trust: Command, world: World, choose: Choose): void {
  const bundle = trust.command('bundle').description('SPIFFE bundles: the anchors of each trust domain');
  withBundleSource(withOutput(bundle.command('show [trust-domain]')))
    .description('show the bundles that the agent holds, or one of anywhere')
    .addHelpText(
      'after',
      examples([
        ['isthmus trust bundle show', 'all of the federation, and what was refused'],
        ['isthmus trust bundle show east.mesh.example --url https://b.example/bundle.json', 'from its endpoint'],
      ]),
    )
    .action((domain: string | undefined, given: BundleOptions) =>
      choose(async () => {
        const { output, headers } = given;
        const { showBundle } = await import('../commands/trust.ts');
        return showBundle(world, domain, { ...bundleFlags(given), output, headers });
      }),
    );
  withBundleSource(bundle.command('get <trust-domain>'))
    .description('write the bundle itself')
    .addOption(new Option('-o, --output <format>').choices(['spiffe', 'pem']).default('spiffe'))
    .addHelpText('after', examples([['isthmus trust bundle get east.mesh.example > east.json', 'as SPIFFE has it']]))
    .action((domain: string, { output, ...given }: Omit<BundleOptions, 'output'> & { output: 'spiffe' | 'pem' }) =>
      choose(async () => {
        const { getBundle } = await import('../commands/trust.ts');
        return getBundle(world, domain, { ...bundleFlags({ ...given, output: 'json' }), form: output });
      }),
    );
}

function addAudit(trust: Command, world: World, choose: Choose): void {
  const audit = trust.command('audit').description('the journal of every decision');
  withServer(withOutput(audit.command('verify [journal...]')))
    .description('check the chain of hashes of journal files, or of the authority')
    .addHelpText(
      'after',
      examples([
        ['isthmus trust audit verify', 'of the authority; exit 1 if a record was changed'],
        ['isthmus trust audit verify journal/*.jsonl', 'of files, one record a line'],
      ]),
    )
    .action((files: readonly string[], given: ServerOptions & OutputOptions) =>
      choose(async () => {
        const { output, headers } = given;
        const { verifyJournal } = await import('../commands/trust.ts');
        return verifyJournal(world, files, { ...serverFlags(given), output, headers });
      }),
    );
}

function addInventory(trust: Command, world: World, choose: Choose): void {
  withServer(withOutput(trust.command('inventory')))
    .description('the intermediates that the authority issued, and which still count')
    .addHelpText('after', examples([['isthmus trust inventory -o wide', 'with serial numbers and hashes']]))
    .action((given: ServerOptions & OutputOptions) =>
      choose(async () => {
        const { output, headers } = given;
        const { inventory } = await import('../commands/trust.ts');
        return inventory(world, { ...serverFlags(given), output, headers });
      }),
    );
}

function addStatus(trust: Command, world: World, choose: Choose): void {
  withServer(withOutput(trust.command('status')))
    .description('which replica presents and trusts what, until when, and how long that lasts without the authority')
    .option('-w, --watch', 'again each second')
    .addHelpText(
      'after',
      examples([
        ['isthmus trust status', 'chains, expiries, rosters and clocks of every replica'],
        ['isthmus trust status -w', 'while an intermediate is renewed'],
      ]),
    )
    .action(({ output, headers, watch = false, ...given }: ServerOptions & OutputOptions & { watch?: boolean }) =>
      choose(async () => {
        const { showCommand } = await import('../commands/show.ts');
        return showCommand(world, 'trust status', [], { ...serverFlags(given), output, headers, watch });
      }),
    );
}

/** `trust status|verify|lint|vectors|bundle|audit|inventory`. */
export function addTrust(program: Command, world: World, choose: Choose): void {
  const trust = program.command('trust').description('identities, anchors, and the proof that they are right');
  for (const add of [addStatus, addVerify, addLint, addBundle, addInventory, addAudit, addVectors])
    add(trust, world, choose);
}
