/** The sets of all volumes, as far as lists look at them: what others have changed, a moment ago. */

/** As JSON has the record of docs/replication.md, "State". */
export type SetSeen = {
  readonly members: readonly (readonly [string, number])[];
  readonly minimum: number;
  readonly attachment?: { readonly attachId: string };
  readonly head?: { readonly engine: string };
};

export class SetsSeen {
  readonly #setOf: (volumeId: string) => SetSeen | undefined;

  constructor(setOf: (volumeId: string) => SetSeen | undefined) {
    this.#setOf = setOf;
  }

  /** How many replicas have every acknowledged write of a volume. */
  memberCount(volumeId: string): number {
    return this.#setOf(volumeId)?.members.length ?? 0;
  }

  /** Whether a replica is one of them. */
  isMember(volumeId: string, replica: string): boolean {
    return this.#setOf(volumeId)?.members.some(([member]) => member === replica) === true;
  }

  /** The fewest members that a volume's set may have; undefined: there is no set. */
  minimumOf(volumeId: string): number | undefined {
    return this.#setOf(volumeId)?.minimum;
  }

  /** The attachment that a volume's set names, and the node of its head, once that has claimed it. */
  headOf(
    volumeId: string,
  ): { readonly attachId: string; readonly node: string | undefined } | undefined {
    const { attachment, head } = this.#setOf(volumeId) ?? {};
    return attachment && { attachId: attachment.attachId, node: head?.engine };
  }
}
