import { filesCompliance } from '../src/env/files-compliance.ts';
import { COMPLIANCE_MEMORY_BYTES, ioCompliance } from '../src/env/io-compliance.ts';
import { type MakeTrialSetup } from '../src/env/io-trial.ts';
import { SimMachine } from './sim-machine.ts';
import { World } from './world.ts';

const PAGE_BYTES = 65_536;
/** Each draws other delays and another order of completions. */
const SEEDS = [1, 2, 3];

/** A fresh machine and one process on it for each test. Every part of the suites runs: the simulator has them all. */
function simulatedSetups(seed: number): MakeTrialSetup {
  return () => {
    const world = new World(seed);
    const pages = COMPLIANCE_MEMORY_BYTES / PAGE_BYTES;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { env } = new SimMachine(world).start(memory);
    return Promise.resolve({
      env,
      path: (name) => `/sim/${name}`,
      cleanUp: () => Promise.resolve(),
      drive: (work) => world.await(work, 'a trial'),
    });
  };
}

for (const seed of SEEDS) {
  ioCompliance(`simulator, seed ${seed}`, simulatedSetups(seed));
  filesCompliance(`simulator, seed ${seed}`, simulatedSetups(seed));
}
