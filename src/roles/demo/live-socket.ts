import { connect } from 'node:net';

/** Whether a process accepts connections on a Unix socket: a file left by a dead one does not. */
export function isLiveSocket(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
