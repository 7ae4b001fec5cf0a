/** Each write of a client to a replicated volume has FUA, whether it asks for it or not: fio's NBD client cannot ask. */

import { ReplicatedVolume } from '../../src/engine/replicas/replicated-volume.ts';

// The original is called with its own `this`, so it is taken apart here on purpose.
// oxlint-disable-next-line typescript/unbound-method
const { openTarget } = ReplicatedVolume.prototype;

ReplicatedVolume.prototype.openTarget = function (onDone, renew) {
  const target = openTarget.call(this, onDone, renew);
  const withFua: typeof target = {
    ...target,
    get sizeBytes() {
      return target.sizeBytes;
    },
    write: (token, offsetBytes, lengthBytes, address) =>
      target.write(token, offsetBytes, lengthBytes, address, true),
  };
  return withFua;
};
