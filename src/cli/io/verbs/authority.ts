import { type Command, InvalidArgumentError, Option } from 'commander';
import type { OutputFormat } from '../../output-format.ts';
import type { World } from '../../world.ts';
import type { AuthorityFlags } from '../commands/authority.ts';
import {
  type Choose,
  examples,
  fileOption,
  type ServerOptions,
  serverFlags,
  withOutput,
  withServer,
} from './options.ts';

interface OutputOptions {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

/** A copy of all state takes its time. */
const backupTimeoutMs = 120_000;

const stateDirText = 'state directory of the machine that has the root key';

function stateDirOption(text: string): Option {
  return new Option('--state-dir <folder>', text).env('ISTHMUS_STATE_DIR');
}

/** The parent `authority` has `--config` too and takes it first: hence `optsWithGlobals`. */
function flagsOf(command: Command): AuthorityFlags {
  const { output, headers, ...server } = command.optsWithGlobals<ServerOptions & OutputOptions>();
  return { ...serverFlags(server), output, headers };
}

interface InitOptionValues {
  readonly config?: string;
  readonly stateDir?: string;
  readonly federationDomain?: string;
  readonly passphraseFile?: string;
  readonly import?: string;
  readonly importKey?: string;
  readonly offlineRoot?: string;
}

/** The verbs below `authority`. */
export function addAuthority(authority: Command, world: World, choose: Choose): void {
  addInit(authority, world, choose);
  addOffline(authority, world, choose);
  addBackup(authority, world, choose);
  addAudit(authority, world, choose);
}

function addInit(authority: Command, world: World, choose: Choose): void {
  authority
    .command('init')
    .description('make the root and authority keys; refuses to overwrite any')
    .addOption(fileOption())
    .addOption(stateDirOption('where to keep them (0700)'))
    .addOption(
      new Option('--federation-domain <domain>', 'parent of all trust domains, such as mesh.example').env(
        'ISTHMUS_FEDERATION_DOMAIN',
      ),
    )
    .option('--passphrase-file <file>', 'unlocks the keys (0600); default: one is made beside them')
    .option(
      '--import <certificate>',
      'use this root, or intermediate below a corporate root (PEM), instead of a new one',
    )
    .option('--import-key <file>', 'its private key (PEM, 0600): P-256, P-384 or RSA')
    .option('--offline-root <certificate>', 'this root (PEM) signs elsewhere, by file; its key never comes here')
    .addHelpText(
      'after',
      examples([
        ['isthmus authority init -f authority.yaml', 'as the file says'],
        ['isthmus authority init --state-dir state --federation-domain mesh.example', 'without a file'],
        ['isthmus authority init -f authority.yaml --import ca.crt --import-key ca.key', 'an existing CA'],
        ['isthmus authority init -f authority.yaml --offline-root root.crt', 'joins wait for its signature'],
      ]),
    )
    .action((_: unknown, command: Command) =>
      choose(async () => {
        const { config, ...flags } = command.optsWithGlobals<InitOptionValues>();
        const { initAuthority } = await import('../commands/roles.ts');
        return initAuthority(world, { ...flags, ...(config !== undefined && { file: config }) });
      }),
    );
}

function addOffline(authority: Command, world: World, choose: Choose): void {
  withServer(withOutput(authority.command('pending')))
    .description('certificates that wait for the signature of an offline root')
    .addHelpText('after', examples([['isthmus authority pending', 'who waits, and for how long']]))
    .action((_: unknown, command: Command) =>
      choose(async () => (await import('../commands/authority.ts')).showPending(world, flagsOf(command))),
    );
  withServer(withOutput(authority.command('acknowledgements')))
    .description('what every agent and gateway proved to present and to trust')
    .addHelpText(
      'after',
      examples([['isthmus authority acknowledgements', 'who knows which roster, under which issuer']]),
    )
    .action((_: unknown, command: Command) =>
      choose(async () => (await import('../commands/authority.ts')).showAcknowledgements(world, flagsOf(command))),
    );
  withServer(withOutput(authority.command('sign-request')))
    .description('write what waits into a file for the machine that has the root key')
    .requiredOption('--out <file>', 'where to write it')
    .addHelpText('after', examples([['isthmus authority sign-request --out request.json', 'it holds no secret']]))
    .action((_: unknown, command: Command) =>
      choose(async () => {
        const { out } = command.opts<{ out: string }>();
        return (await import('../commands/authority.ts')).signRequest(world, out, flagsOf(command));
      }),
    );
  withOutput(authority.command('sign <request>'))
    .description('sign a request file with the root key of this machine; needs no network')
    .addOption(stateDirOption(stateDirText))
    .option('--passphrase-file <file>', 'unlocks the root key (0600); default: the one in the state directory')
    .requiredOption('--out <file>', 'where to write the response')
    .addHelpText(
      'after',
      examples([['isthmus authority sign request.json --state-dir root --out response.json', 'all of it, or nothing']]),
    )
    .action((request: string, _: unknown, command: Command) =>
      choose(async () => {
        const { output, headers, stateDir, passphraseFile, out } = command.opts<
          OutputOptions & { stateDir?: string; passphraseFile?: string; out: string }
        >();
        const { sign } = await import('../commands/authority.ts');
        return sign(world, request, {
          output,
          headers,
          out,
          ...(stateDir !== undefined && { stateDir }),
          ...(passphraseFile !== undefined && { passphraseFile }),
        });
      }),
    );
  withServer(withOutput(authority.command('import-response <file>')))
    .description('take what the root has signed; the joins that waited go on')
    .addHelpText('after', examples([['isthmus authority import-response response.json', 'checked before it counts']]))
    .action((file: string, _: unknown, command: Command) =>
      choose(async () => (await import('../commands/authority.ts')).importResponse(world, file, flagsOf(command))),
    );
}

function addBackup(authority: Command, world: World, choose: Choose): void {
  withServer(withOutput(authority.command('backup')))
    .description('write keys, members, tokens and journal into one encrypted file')
    .requiredOption('--out <file>', 'where to write it; must not exist')
    .option('--passphrase-file <file>', `seals it (0600); default: the authority's own passphrase`)
    .addOption(new Option('--state-dir <folder>', 'of an authority that does not run'))
    .addHelpText(
      'after',
      examples([
        ['isthmus authority backup --out authority.backup', 'while it runs'],
        ['isthmus authority backup --state-dir state --out authority.backup', 'while it does not'],
      ]),
    )
    .action((_: unknown, command: Command) =>
      choose(async () => {
        const { out, passphraseFile, stateDir, timeout } = command.opts<{
          out: string;
          passphraseFile?: string;
          stateDir?: string;
          timeout?: number;
        }>();
        const { backup } = await import('../commands/authority.ts');
        return backup(world, {
          ...flagsOf(command),
          timeoutMs: timeout ?? backupTimeoutMs,
          out,
          ...(stateDir !== undefined && { stateDir }),
          ...(passphraseFile !== undefined && { passphraseFile }),
        });
      }),
    );
  withOutput(authority.command('restore <file>'))
    .description('make a state directory from a backup; rosters jump ahead, open tokens are void')
    .addOption(stateDirOption('where to restore it (0700)'))
    .requiredOption('--passphrase-file <file>', 'opens the backup (0600)')
    .addHelpText(
      'after',
      examples([
        ['isthmus authority restore authority.backup --state-dir state --passphrase-file pass', 'stopped only'],
      ]),
    )
    .action((file: string, _: unknown, command: Command) =>
      choose(async () => {
        const { stateDir, ...flags } = command.opts<OutputOptions & { stateDir?: string; passphraseFile: string }>();
        const { restore } = await import('../commands/authority.ts');
        return restore(world, file, { ...flags, ...(stateDir !== undefined && { stateDir }) });
      }),
    );
}

function recordOption(text: string): number {
  const after = Number(text);
  if (!Number.isSafeInteger(after) || after < 0) throw new InvalidArgumentError('It must be the number of a record.');
  return after;
}

function addAudit(authority: Command, world: World, choose: Choose): void {
  const audit = withServer(withOutput(authority.command('audit')))
    .description('the journal of all decisions: who, what, why')
    .addOption(new Option('--after <record>', 'what comes after this record').argParser(recordOption).default(0))
    .addHelpText(
      'after',
      examples([
        ['isthmus authority audit', 'all of it, oldest first'],
        ['isthmus authority audit verify', 'exit 1 if a record was changed or removed'],
      ]),
    )
    .action((_: unknown, command: Command) =>
      choose(async () => {
        const { after } = command.opts<{ after: number }>();
        return (await import('../commands/authority.ts')).showAudit(world, { ...flagsOf(command), after });
      }),
    );
  withServer(withOutput(audit.command('verify')))
    .description('check that the journal is what was written')
    .action((_: unknown, command: Command) =>
      choose(async () => (await import('../commands/authority.ts')).verifyAudit(world, flagsOf(command))),
    );
  withServer(authority.command('accept-clock'))
    .description('go on although the wall clock jumped: somebody says that it is right now')
    .requiredOption('--why <text>', 'for the journal')
    .addHelpText('after', examples([[`isthmus authority accept-clock --why 'clock was a year ahead'`, '']]))
    .action((_: unknown, command: Command) =>
      choose(async () => {
        const { why, ...given } = command.optsWithGlobals<ServerOptions & { why: string }>();
        return (await import('../commands/authority.ts')).acceptClock(world, why, serverFlags(given));
      }),
    );
}
