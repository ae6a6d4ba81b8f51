//! Changes to the host: devices, addresses, routes, rules, the packet filter, name servers, programs.
//!
//! Everything that a service changes outside of its own process is an [`Action`](action::Action): plain
//! data, without a handle in it. A list of actions is made without a system call, printed as it is
//! (`--dry-run`), or carried out in order by a [`Ledger`](ledger::Ledger), which asks an
//! [`Executor`](executor::Executor) for one action at a time and keeps what reverts each of them.
//!
//! ```text
//! configuration, state of the host -> [Action, Action, ...] -> Ledger -- Action --> Executor -> kernel
//!                                            |                   ^                     |
//!                                        --dry-run               '---- undo: Action ---'
//! ```
//!
//! A request and its reply are all that crosses between ledger and executor. So the executor may run in
//! another process that has more privileges: that process is started for one network namespace, opens
//! what it needs by itself, and sends a device's queue back as a descriptor.
//!
//! | file | what |
//! |---|---|
//! | `action` | the list of all changes, and their texts |
//! | `filter` | one table of the packet filter |
//! | `program` | programs that run to their end, with a limit |
//! | `attach` | a queue of a device that no other program holds, for a moment |
//! | `executor` | the trait, and the executor that runs in this process |
//! | `ledger` | order, rollback, undo |
//! | `stale` | what processes left that were killed |
//! | `worker` | a thread for all this, beside a loop |

pub mod action;
pub mod attach;
pub mod executor;
pub mod filter;
pub mod ledger;
pub mod program;
pub mod stale;
pub mod worker;
