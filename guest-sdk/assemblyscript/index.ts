// What `import { ... } from "oplet-sdk"` finds.
export * from "./assembly/index";
