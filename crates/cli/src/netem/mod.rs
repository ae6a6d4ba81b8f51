//! What `adit netem` shows of a link: before it is used (`preview`) and after (`report`).

pub(crate) mod plot;
pub(crate) mod preview;
pub(crate) mod svg;
