import type { z } from 'zod';

/** `sun_path` holds 104 bytes on macOS and 108 on Linux, the closing zero included. */
const maxSocketPathBytes = 103;
/** What a path comes to that somebody has meant as an address to listen on. */
const meantAsAddress = /:\d{1,5}$|\/[a-z]+:\//;

/**
 * The admin socket's path: as given, else in the state directory. A path that no socket can have is an issue, and so is an
 * address: whoever opens the admin API may do everything, so that it is there for the owner of its socket alone.
 */
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
  if (config.admin !== undefined && meantAsAddress.test(path)) {
    context.addIssue({
      code: 'custom',
      path: ['admin'],
      message: `must be the path of a Unix socket, such as 'admin.sock': the admin API is not served over a network, and '${path}' looks like an address`,
    });
  }
  return path;
}
