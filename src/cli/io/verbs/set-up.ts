import { type Command, Option } from 'commander';
import type { FileRole, World } from '../../world.ts';
import {
  type Choose,
  durationOption,
  examples,
  fileOption,
  requiredFileOption,
  type ServerOptions,
  serverFlags,
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
    .addHelpText('after', examples([['isthmus join -f agent.yaml --token-file east.token', 'single use']]))
    .action(({ config, ...flags }: { config?: string; tokenFile: string; stateDir?: string; replica?: string }) =>
      choose(async () => {
        const { join } = await import('../commands/roles.ts');
        return join(world, { ...flags, ...(config !== undefined && { file: config }) });
      }),
    );

  const token = program.command('token').description('join tokens');
  withServer(token.command('issue [cluster]'))
    .description('issue a token for a cluster (authority) or a gateway (agent)')
    .option('--gateway <replica>', 'for this gateway of the own cluster, at its agent')
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
        ['isthmus token issue --gateway gateway-0 --out gateway.token', 'for a gateway'],
      ]),
    )
    .action(
      (
        cluster: string | undefined,
        given: ServerOptions & { gateway?: string; ttl?: number; out?: string; output: string },
      ) =>
        choose(async () => {
          const { gateway, ttl, out, output } = given;
          const { issueToken } = await import('../commands/token.ts');
          return issueToken(world, cluster, {
            ...serverFlags(given),
            output,
            ...(gateway !== undefined && { gateway }),
            ...(ttl !== undefined && { ttlMs: ttl }),
            ...(out !== undefined && { out }),
          });
        }),
    );

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
