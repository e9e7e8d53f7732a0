import type { Command } from 'commander';
import type { OutputFormat } from '../../output-format.ts';
import type { World } from '../../world.ts';
import type { AnswerFlags } from '../commands/policy.ts';
import { type Choose, examples, type ServerOptions, serverFlags, withOutput, withServer } from './options.ts';

/** What `withServer` and `withOutput` parse. */
export interface AnswerOptions extends ServerOptions {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

/** What a command needs of it. */
export function answerFlags(given: AnswerOptions): AnswerFlags {
  return { ...serverFlags(given), output: given.output, headers: given.headers };
}

function answering(command: Command): Command {
  return withServer(withOutput(command));
}

/** Adds one more value of a flag that may be repeated. */
export function repeated(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

interface FileOptions extends AnswerOptions {
  readonly file: readonly string[];
  readonly dryRun?: boolean;
}

/** `policy list|get|apply|delete|effective|diff`. */
export function addPolicy(program: Command, world: World, choose: Choose): void {
  const policy = program
    .command('policy')
    .description('balancing, failover, placement and access, the same everywhere');
  answering(policy.command('list'))
    .description('all policies, who publishes them, and how they stand')
    .addHelpText('after', examples([['isthmus policy list -o wide', 'with revisions']]))
    .action((given: AnswerOptions) =>
      choose(async () => (await import('../commands/policy.ts')).listPolicies(world, answerFlags(given))),
    );
  answering(policy.command('get <policy>'))
    .description(`one policy, as 'apply' takes it`)
    .addHelpText('after', examples([['isthmus policy get TrafficPolicy/shop/web', 'YAML, with its state']]))
    .action((name: string, given: AnswerOptions) =>
      choose(async () => (await import('../commands/policy.ts')).getPolicy(world, name, answerFlags(given))),
    );
  addFileVerb(policy.command('apply'), { world, choose, diff: false });
  addFileVerb(policy.command('diff'), { world, choose, diff: true });
  answering(policy.command('delete <policy>'))
    .description('take back a policy that this cluster publishes')
    .option('--dry-run', 'only say what would happen')
    .addHelpText('after', examples([['isthmus policy delete TrafficPolicy/shop/web', 'prints how to undo it']]))
    .action((name: string, given: AnswerOptions & { dryRun?: boolean }) =>
      choose(async () => {
        const { deletePolicy } = await import('../commands/policy.ts');
        return deletePolicy(world, name, { ...answerFlags(given), preview: given.dryRun ?? false });
      }),
    );
  answering(policy.command('effective <service>'))
    .description('what holds for a service, field by field, and where each comes from')
    .addHelpText('after', examples([['isthmus policy effective shop/web', 'values and their origin']]))
    .action((service: string, given: AnswerOptions) =>
      choose(async () => (await import('../commands/policy.ts')).showEffective(world, service, answerFlags(given))),
    );
}

interface FileVerb {
  readonly world: World;
  readonly choose: Choose;
  readonly diff: boolean;
}

function addFileVerb(command: Command, { world, choose, diff }: FileVerb): void {
  answering(command)
    .description(
      diff ? 'what applying files would change; exit 1 if anything' : 'publish the policies of files, all or none',
    )
    .requiredOption('-f, --file <file>', `YAML of one or more policies, or '-'; repeatable`, repeated)
    .addHelpText(
      'after',
      examples(
        diff
          ? [['isthmus policy diff -f web.yaml', 'before and after, nothing is written']]
          : [
              ['isthmus policy apply -f web.yaml', 'prints what it wrote and how to undo it'],
              ['isthmus policy apply -f web.yaml --dry-run', 'only says what would happen'],
            ],
      ),
    );
  if (!diff) command.option('--dry-run', 'only say what would happen');
  command.action((given: FileOptions) =>
    choose(async () => {
      const { applyPolicies } = await import('../commands/policy.ts');
      const preview = diff || (given.dryRun ?? false);
      return applyPolicies(world, { ...answerFlags(given), files: given.file, preview, diff });
    }),
  );
}
