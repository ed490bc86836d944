//! Reading an op allocates nothing, and so does refusing it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use oplet_sdk::{Handler, Op, bson::doc};

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
    let update = Op::update("shop.orders", document).updated(doc! {"status": "open"});
    let update = update.with("txn", doc! {"txnNumber": 1_i64});

    assert!(!allocates(&Picky, &update.to_bytes()));
    assert!(
        !allocates(&Picky, &update.pending().to_pending_bytes()),
        "nor does asking for the document"
    );
}

/// Refuses after it has looked at everything.
struct Picky;

impl Handler for Picky {
    fn filter(&self, op: &Op) -> bool {
        op.is_insert()
            || op.namespace() != "shop.orders"
            || op.get_str("data.status") == Some("paid")
            || op.get_f64("data.total").is_some_and(|total| total > 10.0)
            || op.get_str("data.a.list.1.city") != Some("Ulm")
            || op.get("data.a").is_none()
            || op.txn().and_then(|txn| txn.number()) != Some(1)
            || op.id().is_none()
            || !op
                .update_description()
                .is_some_and(|update| update.touches("status"))
    }
}

/// By the code that the exported `filter` runs, which must refuse the op or ask for its document.
fn allocates<H: Handler>(handler: &H, op: &[u8]) -> bool {
    let before = ALLOCATIONS.get();
    let verdict = oplet_sdk::__private::filter_natively(handler, op);
    let allocated = ALLOCATIONS.get() - before;
    assert_ne!(verdict, oplet_sdk::abi::verdict::KEEP);
    allocated > 0
}
