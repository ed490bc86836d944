(module
  (import "oplet" "emit" (func $emit (param i32 i32 i32) (result i32)))
  ;;IMPORTS
  ;; What lies where: names of fields from 16 on, the output at 256, the pipeline's answer at 1024, texts of a
  ;; test's own from 4096 on, and ops from 64 KiB on.
  ;;MEMORY
  ;;NAMES
  ;;OUTPUT
  (func (export "oplet_abi_v1"))
  (func (export "oplet_alloc") (param $len i32) (result i32)
    ;;ALLOC
  )

  ;; Whether the strings are equal, up to and with their zero bytes.
  (func $is_equal (param $a i32) (param $b i32) (result i32)
    (loop $next
      (if (i32.ne (i32.load8_u (local.get $a)) (i32.load8_u (local.get $b))) (then (return (i32.const 0))))
      (if (i32.eqz (i32.load8_u (local.get $a))) (then (return (i32.const 1))))
      (local.set $a (i32.add (local.get $a) (i32.const 1)))
      (local.set $b (i32.add (local.get $b) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; The value of an element: what follows its type byte and its name.
  (func $value (param $element i32) (result i32)
    (loop $next
      (local.set $element (i32.add (local.get $element) (i32.const 1)))
      (br_if $next (i32.load8_u (local.get $element))))
    (i32.add (local.get $element) (i32.const 1)))

  ;; Bytes of a value; of the types that the tests use.
  (func $size (param $type i32) (param $value i32) (result i32)
    (if (i32.eq (local.get $type) (i32.const 0x10)) (then (return (i32.const 4))))
    (if (i32.or (i32.eq (local.get $type) (i32.const 0x03)) (i32.eq (local.get $type) (i32.const 0x04)))
      (then (return (i32.load (local.get $value)))))
    (if (i32.eq (local.get $type) (i32.const 0x02))
      (then (return (i32.add (i32.const 4) (i32.load (local.get $value))))))
    (if (i32.eq (local.get $type) (i32.const 0x05))
      (then (return (i32.add (i32.const 5) (i32.load (local.get $value))))))
    (if (i32.eq (local.get $type) (i32.const 0x07)) (then (return (i32.const 12))))
    (if (i32.eq (local.get $type) (i32.const 0x08)) (then (return (i32.const 1))))
    (if (i32.eq (local.get $type) (i32.const 0x0a)) (then (return (i32.const 0))))
    ;; double, date, timestamp, 64-bit integer
    (i32.const 8))

  (func $field (param $document i32) (param $name i32) (result i32)
    (local $element i32)
    (local $value i32)
    (local.set $element (i32.add (local.get $document) (i32.const 4)))
    (loop $next
      (if (i32.eqz (i32.load8_u (local.get $element))) (then (return (i32.const 0))))
      (if (call $is_equal (i32.add (local.get $element) (i32.const 1)) (local.get $name))
        (then (return (local.get $element))))
      (local.set $value (call $value (local.get $element)))
      (local.set $element
        (i32.add (local.get $value) (call $size (i32.load8_u (local.get $element)) (local.get $value))))
      (br $next))
    (unreachable))

  (func $int (param $document i32) (param $name i32) (result i32)
    (local $element i32)
    (if (i32.eqz (local.get $document)) (then (return (i32.const -1))))
    (local.set $element (call $field (local.get $document) (local.get $name)))
    (if (i32.eqz (local.get $element)) (then (return (i32.const -1))))
    (i32.load (call $value (local.get $element))))

  (func $data (param $op i32) (result i32)
    (local $element i32)
    (local.set $element (call $field (local.get $op) (i32.const 32)))
    (if (i32.eqz (local.get $element)) (then (return (i32.const 0))))
    (call $value (local.get $element)))

  (func $emit_one (param $op i32)
    ;; {_id, n, by}: the integers lie behind 4 + 1 + "_id\0", and 4 + 1 + "n\0" later.
    (i32.store (i32.const 265) (call $int (local.get $op) (i32.const 16)))
    (i32.store (i32.const 272) (call $int (call $data (local.get $op)) (i32.const 48)))
    (if (call $emit (i32.const 0) (i32.const 256)
          ;;LEN
        ) (then (unreachable))))

  ;;FILTER
  ;;HANDLE
  ;;ITEMS
)
