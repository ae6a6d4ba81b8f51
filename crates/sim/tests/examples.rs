//! The examples run, and end.

#[path = "../examples/own_engine.rs"]
mod own_engine;

#[test]
fn own_engine_runs() {
    own_engine::main();
}
