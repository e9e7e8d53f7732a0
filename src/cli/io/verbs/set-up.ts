import { type Command, Option } from 'commander';
import type { OutputFormat } from '../../output-format.ts';
import type { FileRole, World } from '../../world.ts';
import type { JoinFlags } from '../commands/roles.ts';
import { admissionBody, type AdmissionOptions, withAdmission } from './members.ts';
import {
  type Choose,
  durationOption,
  examples,
  fileOption,
  requiredFileOption,
  type ServerOptions,
  serverFlags,
  withOutput,
  withServer,
} from './options.ts';

/** `join`, `token`, `config`. */
export function addSetUp(program: Command, world: World, choose: Choose): void {
  program
    .command('join')
    .description('give an agent its first identity, with a token of the authority')
    .addOption(fileOption())
    .addOption(new Option('--state-dir <folder>', 'state directory of the agent').env('ISTHMUS_STATE_DIR'))
    .addOption(new Option('--replica <name>', 'default: as the file says, else agent-0').env('ISTHMUS_REPLICA'))
    .requiredOption('--token-file <file>', `the token (0600), or '-' for standard input`)
    .option('--rejoin', 'replace the identity that is there; the token must have been issued with --rejoin')
    .addHelpText(
      'after',
      examples([
        ['isthmus join -f agent.yaml --token-file east.token', 'single use; goes on where it was cut short'],
        ['isthmus join -f agent.yaml --rejoin --token-file east.token', 'after an expired identity'],
      ]),
    )
    .action(({ config, ...flags }: Omit<JoinFlags, 'file'> & { config?: string }) =>
      choose(async () => {
        const { join } = await import('../commands/roles.ts');
        return join(world, { ...flags, ...(config !== undefined && { file: config }) });
      }),
    );

  addToken(program, world, choose);

  const config = program.command('config').description('configuration files');
  const roleOption = (): Option =>
    new Option('--role <role>', 'whose file it is; default: as it says').choices(['authority', 'agent', 'gateway']);
  config
    .command('check')
    .description('say everything that is wrong with a file')
    .addOption(requiredFileOption())
    .addOption(roleOption())
    .addHelpText('after', examples([['isthmus config check -f agent.yaml', 'exit 2 if it is not right']]))
    .action(({ config: file, role }: { config: string; role?: FileRole }) =>
      choose(async () => {
        const { checkConfig } = await import('../commands/config.ts');
        return checkConfig(world, { file, ...(role !== undefined && { role }) });
      }),
    );
  config
    .command('view')
    .description('show every value in force, defaults included')
    .addOption(requiredFileOption())
    .addOption(roleOption())
    .option('--show-origin', 'say where each value comes from')
    .addOption(new Option('-o, --output <format>').choices(['yaml', 'json']).default('yaml'))
    .addHelpText('after', examples([['isthmus config view -f agent.yaml --show-origin', 'file and line of each']]))
    .action(
      ({ config: file, role, ...rest }: { config: string; role?: FileRole; showOrigin?: boolean; output?: string }) =>
        choose(async () => {
          const { viewConfig } = await import('../commands/config.ts');
          return viewConfig(world, { file, ...rest, ...(role !== undefined && { role }) });
        }),
    );
}

interface TokenOptions extends ServerOptions, AdmissionOptions {
  readonly gateway?: string;
  readonly ttl?: number;
  readonly out?: string;
  readonly output: string;
  readonly rejoin?: boolean;
}

function addToken(program: Command, world: World, choose: Choose): void {
  const token = program.command('token').description('join tokens');
  withAdmission(withServer(token.command('issue [cluster]')))
    .description('issue a token for a cluster (authority) or a gateway (agent)')
    .option('--gateway <replica>', 'for this gateway of the own cluster, at its agent')
    .option('--rejoin', 'for a replica that lost its disk, or whose identity expired')
    .addOption(
      new Option('--ttl <duration>', 'valid for at most 15m')
        .argParser(durationOption)
        .default(undefined, 'the longest'),
    )
    .option('--out <file>', 'write it to this file (0600) instead of stdout')
    .addOption(new Option('-o, --output <format>').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      examples([
        ['isthmus token issue east --out east.token', 'one use, for cluster east'],
        [`isthmus token issue east --exportable 'shop/*' --label region=eu`, 'admitted for its shop only'],
        ['isthmus token issue east --rejoin --out east.token', 'for a replica that lost its disk'],
        ['isthmus token issue --gateway gateway-0 --out gateway.token', 'for a gateway'],
      ]),
    )
    .action((cluster: string | undefined, given: TokenOptions) =>
      choose(async () => {
        const { gateway, ttl, out, output, rejoin } = given;
        const { issueToken } = await import('../commands/token.ts');
        return issueToken(world, cluster, {
          ...serverFlags(given),
          output,
          admission: { ...admissionBody(given), ...(rejoin && { rejoin }) },
          ...(gateway !== undefined && { gateway }),
          ...(ttl !== undefined && { ttlMs: ttl }),
          ...(out !== undefined && { out }),
        });
      }),
    );
  withServer(withOutput(token.command('list')))
    .description('tokens of the last day and what became of them; never their secrets')
    .addHelpText('after', examples([['isthmus token list', 'at the authority']]))
    .action((given: ServerOptions & { output: OutputFormat; headers: boolean }) =>
      choose(async () => {
        const { output, headers } = given;
        return (await import('../commands/token.ts')).listTokens(world, { ...serverFlags(given), output, headers });
      }),
    );
  withServer(withOutput(token.command('revoke <id>')))
    .description('make an open token useless; <id> as token list has it')
    .requiredOption('--why <text>', 'for the journal')
    .addHelpText('after', examples([[`isthmus token revoke 3f6c0a2b9d1e --why 'sent to the wrong one'`, '']]))
    .action((id: string, given: ServerOptions & { output: OutputFormat; headers: boolean; why: string }) =>
      choose(async () => {
        const { output, headers, why } = given;
        const { revokeToken } = await import('../commands/token.ts');
        return revokeToken(world, { id, why }, { ...serverFlags(given), output, headers });
      }),
    );
}
