import fc from 'fast-check';

/** Any character that Unicode has, as fast-check's unit `binary`, which takes a second and more to be made. */
export const anyCharacter: fc.Arbitrary<string> = fc
  .nat(0x10f7ff)
  // Half of a surrogate pair is none.
  .map((place) => String.fromCodePoint(place < 0xd800 ? place : place + 0x800));
