import type { RoleIo } from '../cli/role-io.ts';
import type { Log } from '../model/ports/log.ts';
import { createLog, type LogLevel } from '../runtime/io/log.ts';

/** The log of a role: JSON lines on its stderr. */
export function roleLog(role: string, level: LogLevel, io: Pick<RoleIo, 'stderr'>): Log {
  return createLog(role, level, { write: (line: string) => void io.stderr.write(line) });
}
