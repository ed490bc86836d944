//! Reading an op allocates nothing.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use oplet_sdk::{Op, bson::doc, testing};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_refused_op_costs_no_allocation() {
    let document =
        doc! {"_id": 1, "a": {"list": [1, {"city": "Ulm"}]}, "total": 9.5, "status": "open"};
    let update = testing::update("shop.orders", document).updated(doc! {"status": "open"});
    let bytes = update.with("txn", doc! {"txnNumber": 1_i64}).to_bytes();

    let before = ALLOCATIONS.get();
    let op = Op::from_bytes(&bytes).unwrap();
    let refused = op.is_insert()
        || op.namespace() != "shop.orders"
        || op.get_str("data.status") == Some("paid")
        || op.get_f64("data.total").is_some_and(|total| total > 10.0)
        || op.get_str("data.a.list.1.city") != Some("Ulm")
        || op.get("data.a").is_none()
        || op.txn().and_then(|txn| txn.number()) != Some(1)
        || op.id().is_none()
        || !op
            .update_description()
            .is_some_and(|update| update.touches("status"));
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(!refused);
}
