//! The examples run, and end.

#[path = "../examples/own_transport.rs"]
mod own_transport;

#[test]
fn own_transport_runs() {
    own_transport::main().unwrap();
}
