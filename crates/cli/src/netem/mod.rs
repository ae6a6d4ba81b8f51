//! What `adit netem` shows of a link: before it is used (`preview`) and after (`report`).

pub(crate) mod charts;
pub(crate) mod preview;
