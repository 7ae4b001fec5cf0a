;; XXH64 (Yann Collet, xxHash specification 0.1.1) over a multiple of 32 bytes of the arena, low 32 bits.
;; Compiled by `node tools/build-wasm.ts` into checksum-wasm.ts; a test compares the two.
(module
  (import "env" "memory" (memory 1))

  (func $round (param $lane i64) (param $input i64) (result i64)
    (i64.mul
      (i64.rotl
        (i64.add (local.get $lane) (i64.mul (local.get $input) (i64.const 0xC2B2AE3D27D4EB4F)))
        (i64.const 31))
      (i64.const 0x9E3779B185EBCA87)))

  (func $merge (param $hash i64) (param $lane i64) (result i64)
    (i64.add
      (i64.mul
        (i64.xor (local.get $hash) (call $round (i64.const 0) (local.get $lane)))
        (i64.const 0x9E3779B185EBCA87))
      (i64.const 0x85EBCA77C2B2AE63)))

  (func (export "checksum")
    (param $address i32) (param $length i32) (param $seedLow i32) (param $seedHigh i32) (result i32)
    (local $end i32) (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $hash i64)
    (local.set $c
      (i64.or
        (i64.extend_i32_u (local.get $seedLow))
        (i64.shl (i64.extend_i32_u (local.get $seedHigh)) (i64.const 32))))
    (local.set $end (i32.add (local.get $address) (local.get $length)))
    (local.set $a (i64.add (local.get $c) (i64.const 0x60EA27EEADC0B5D6)))
    (local.set $b (i64.add (local.get $c) (i64.const 0xC2B2AE3D27D4EB4F)))
    (local.set $d (i64.sub (local.get $c) (i64.const 0x9E3779B185EBCA87)))
    (loop $stripe
      (local.set $a (call $round (local.get $a) (i64.load (local.get $address))))
      (local.set $b (call $round (local.get $b) (i64.load offset=8 (local.get $address))))
      (local.set $c (call $round (local.get $c) (i64.load offset=16 (local.get $address))))
      (local.set $d (call $round (local.get $d) (i64.load offset=24 (local.get $address))))
      (br_if $stripe
        (i32.lt_u (local.tee $address (i32.add (local.get $address) (i32.const 32))) (local.get $end))))
    (local.set $hash
      (i64.add
        (i64.add (i64.rotl (local.get $a) (i64.const 1)) (i64.rotl (local.get $b) (i64.const 7)))
        (i64.add (i64.rotl (local.get $c) (i64.const 12)) (i64.rotl (local.get $d) (i64.const 18)))))
    (local.set $hash (call $merge (local.get $hash) (local.get $a)))
    (local.set $hash (call $merge (local.get $hash) (local.get $b)))
    (local.set $hash (call $merge (local.get $hash) (local.get $c)))
    (local.set $hash (call $merge (local.get $hash) (local.get $d)))
    (local.set $hash (i64.add (local.get $hash) (i64.extend_i32_u (local.get $length))))
    (local.set $hash
      (i64.mul
        (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 33)))
        (i64.const 0xC2B2AE3D27D4EB4F)))
    (local.set $hash
      (i64.mul
        (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 29)))
        (i64.const 0x165667B19E3779F9)))
    (i32.wrap_i64 (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32)))))
)
