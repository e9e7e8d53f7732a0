import type { z } from 'zod';

/** `sun_path` holds 104 bytes on macOS and 108 on Linux, the closing zero included. */
const maxSocketPathBytes = 103;

/** The admin socket's path: as given, else in the state directory. A path that no socket can have is an issue. */
export function adminSocketPath(
  config: { readonly stateDir: string; readonly admin?: string },
  context: z.core.$RefinementCtx,
): string {
  const path = config.admin ?? `${config.stateDir}/admin.sock`;
  const bytes = Buffer.byteLength(path);
  if (bytes > maxSocketPathBytes) {
    context.addIssue({
      code: 'custom',
      path: [config.admin === undefined ? 'stateDir' : 'admin'],
      message: `gives the admin socket a path of ${bytes} bytes, and a Unix socket may have ${maxSocketPathBytes}: '${path}'`,
    });
  }
  return path;
}
