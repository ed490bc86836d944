import { DocumentBuilder, Op, emit } from "oplet-sdk";

export function filter(op: Op): bool {
  return op.isUpdate && op.namespace == "shop.orders" && op.isString("data.status", "paid");
}

export function handle(op: Op): void {
  const data = op.data;
  if (data === null) return; // deleted since
  emit(new DocumentBuilder().set("_id", op.opId).set("who", data.getString("by")).set("n", [1, 2]));
}
