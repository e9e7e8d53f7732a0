import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/**
 * Keeps the space for short-lived objects at the size that it has. For a process with thousands of connections that do
 * little: V8 lets the space grow to three times 16 MB under load and keeps it, which for 8,000 idle connections is half
 * of what each costs, while small collections stay as short (docs/performance/tunnel.md).
 */
export function keepYoungHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

/** Bytes of the space for short-lived objects: larger ones only delay collections, smaller ones promote what dies soon. */
const youngBytes = 16 << 20;
/** The rest of the heap is collected when it has grown by so much since it was last. */
const growthPercent = 25;
const chunkBytes = 64 << 10;

/**
 * Makes V8 prefer memory to a little time. For a process that takes in much at once and holds it for long: by itself V8
 * lets the space for short-lived objects grow to 128 MB and the rest to twice what is held, and keeps both.
 */
export function keepHeapTight(): void {
  setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
  // The space has to be of the right size first, and grows when much of what is new stays.
  const stays: unknown[] = [];
  for (let bytes = 0; bytes < 4 * youngBytes && youngSize() < youngBytes; bytes += chunkBytes) {
    stays.push(Array.from({ length: chunkBytes / 8 }, () => bytes));
  }
  keepYoungHeapSmall();
}

function youngSize(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')?.space_size ?? youngBytes;
}
