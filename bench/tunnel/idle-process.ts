import { connect, createServer, type Socket } from 'node:net';

/** `accept`: echoes and keeps. `open <port> <count>`: opens, waits for an echo on each, keeps. Prints by IPC. */
const [mode, port, count] = process.argv.slice(2);
/** Connections being opened at once. */
const abreast = 64;

if (mode === 'accept') {
  const server = createServer((socket) => {
    socket.on('error', () => undefined).on('data', (bytes: Buffer) => void socket.write(bytes));
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    const bound = server.address();
    process.send?.(bound && typeof bound === 'object' ? bound.port : 0);
  });
} else {
  const held: Socket[] = [];
  const openOne = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(Number(port), '127.0.0.1', () => socket.write('x'));
      socket.once('data', () => {
        held.push(socket);
        resolve(true);
      });
      socket.on('error', () => undefined).once('close', () => resolve(false));
    });
  let left = Number(count);
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await openOne();
    }
  };
  await Promise.all(Array.from({ length: abreast }, worker));
  process.send?.(held.length);
}
process.once('disconnect', () => process.exit(0));
