//! Examples below the help texts of verbs.

pub(super) const NEW: &str = "Examples:
  oplet new invoices                      a handler in Rust, with sample changes and a test
  oplet new audit --lang assemblyscript
  oplet new hello --sdk ../oplet/guest-sdk
      with the SDK of a copy of Oplet's sources

Nothing is overwritten.";

pub(super) const BUILD: &str = "Examples:
  oplet build                             the handler in this folder
  oplet build invoices --optimize size --out deploy/invoices.wasm

Exit codes: 0 built; 1 the compiler refused it, or is missing; 2 no handler, or module refused.";

pub(super) const COMPLETIONS: &str = "Examples:
  oplet completions bash > ~/.local/share/bash-completion/completions/oplet
  oplet completions zsh > ~/.zfunc/_oplet
  oplet completions fish > ~/.config/fish/completions/oplet.fish";

pub(super) const MAN: &str = "Examples:
  oplet man run | man -l -
  oplet man --out ~/.local/share/man/man1";

pub(super) const RUN: &str = "Examples:
  oplet run welcome.wasm --watch users.users
      run one handler on one collection; what it emits is printed as JSON lines
  oplet run audit.wasm search.wasm --watch shop --since 90m
      two handlers on a whole database, beginning 90 minutes ago
  oplet run audit.wasm --source oplog --on-error skip
      read the oplog, which is several times faster than a change stream
  oplet run --config oplet.toml
      all that a file says";

pub(super) const CHECK: &str = "Examples:
  oplet check --config oplet.toml         is it right, and what would run?
  oplet check --config oplet.toml -v      where does each value come from?

Exit codes: 0 nothing found; 2 usage; 4 problems found.";

pub(super) const TAIL: &str = "Examples:
  oplet tail                              every change of the deployment, from now on
  oplet tail shop.orders --format pretty  one collection, for people
  oplet tail shop --since oldest --exit-when-idle > changes.json
      all that the oplog still has of a database
  oplet tail shop.orders --direct-read shop.orders
      what lies in a collection, and then its changes, without a gap";

pub(super) const CHECKPOINT: &str = "Examples:
  oplet checkpoint show                         where every run would go on, and who is at work
  oplet checkpoint set orders --since 90m       let the run `orders` go on 90 minutes ago
  oplet checkpoint clear orders                 forget where it stands

A run that is at work is moved by `oplet seek`.";

pub(super) const DEAD_LETTERS: &str = "Examples:
  oplet dead-letters list --module audit --since 1h
  oplet dead-letters show audit/audit/1700000001:7:0
  oplet dead-letters redrive audit.wasm
      run them through the mended module, and remove those that succeed
  oplet dead-letters drop --kind reject --until 30d --yes";

pub(super) const INSPECT: &str = "Examples:
  oplet inspect welcome.wasm
  oplet inspect welcome.wasm --json | jq .findings
  oplet inspect welcome.wasm --json | jq '.warnings[].kind'";

pub(super) const STATUS: &str = "Examples:
  oplet status
      of the run on this machine that has `--admin 127.0.0.1:9090`
  oplet status --admin oplet.example:9090 --admin-token-file token --format json | jq .lagSeconds";

pub(super) const PAUSE: &str = "Examples:
  oplet pause && ./mend-the-target && oplet resume";

pub(super) const RESUME: &str = "Examples:
  oplet resume
      also closes the breaker of a module that failed too often";

pub(super) const SEEK: &str = "Examples:
  oplet seek --since 90m
      handle the last 90 minutes again, with the same op ids
  oplet seek --since now
      pass over what is not handled yet

A run that is at rest is moved by `oplet checkpoint set`.";

pub(super) const SNAPSHOT: &str = "Examples:
  oplet snapshot shop.orders
      give every document of the collection to the modules, also when that was done before
  oplet status --format json | jq '.directReads'
      see how far that is";

pub(super) const MODULES: &str = "Examples:
  oplet modules
  oplet modules --format json | jq '.modules[] | {name, digest, generation}'";

pub(super) const SWAP: &str = "Examples:
  oplet swap audit=target/wasm32-wasip1/release/audit.wasm
      between two changes of each lane; the old version goes on if anything fails
  oplet swap audit=audit.wasm --canary 5% --ops 10000 --failures 10
      for 5% of the keys first; `oplet modules` shows how it does
  oplet swap audit=audit.wasm --shadow
      beside the present version, to compare what the two do
  oplet swap welcome=welcome.wasm --add";

pub(super) const ROLLBACK: &str = "Examples:
  oplet rollback audit
      a version that is on trial is let go instead";

pub(super) const REMOVE: &str = "Examples:
  oplet remove welcome";

pub(super) const PROFILE: &str = "Examples:
  oplet profile audit
      ten seconds of the run on this machine that has `--admin 127.0.0.1:9090`
  oplet profile audit --seconds 60 --out audit.json
      open the file at https://profiler.firefox.com, which keeps it in the browser";

pub(super) const DRAIN: &str = "Examples:
  oplet drain
      as SIGTERM does, but answers when all is saved";
