// Every order in `shop.orders` that is paid becomes an invoice.

import { DocumentBuilder, Op, Outcome, emit, reject } from "oplet-sdk";

// Says which changes are wanted. Asked for each, so it should be cheap.
export function filter(op: Op): bool {
  return op.namespace == "shop.orders" && op.isString("data.status", "paid");
}

// Called for those.
export function handle(op: Op): Outcome {
  const order = op.data;
  if (order === null) return Outcome.Done; // deleted since
  const customer = order.getString("customer");
  if (customer === null) return reject("the order has no customer");
  const invoice = new DocumentBuilder();
  // The same when the change comes again, so that whoever takes it can tell.
  invoice.set("_id", op.opId);
  invoice.set("customer", customer);
  invoice.set("amount", order.getF64("total"));
  emit(invoice);
  return Outcome.Done;
}
